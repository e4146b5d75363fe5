"""The durable workflow of a run in DBOS: one step a stage, so that a killed worker's run goes on where it was.

A step returns names and digests only; the case folders hold the results.
"""

from typing import TYPE_CHECKING, Any

from dbos import DBOS, DBOSPortableJSONSerializer, SetWorkflowID

from neuralyzer.errors import NeuralyzerError, StorageError
from neuralyzer.service.run import PREPARE, RELEASE, STAGES, UNLEARN, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbos import DBOSConfig

NAME, QUEUE = "neuralyzer", "runs"
VERSION = "1"  # of the workflows' layout; DBOS's own, a digest of the code, would strand runs at each release
ENDED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
ATTEMPTS = 8  # of a stage, about four minutes
POLL = 0.2  # seconds between two looks at the queue

_opener: "list[Callable[[str], Run]]" = []  # opens a run by its batch; DBOS calls plain functions


@DBOS.step(retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=1.0, backoff_rate=2.0)
def reached(batch: str, phase: str, stage: str) -> dict[str, Any]:
    """Run a phase up to a stage, or to its end; an error is written down of its requests, and ends the phase.

    Where the database or the disk fails, nothing could be written down: the stage is tried again for some minutes.

    Returns:
        The stage, and the kind of error that ended the phase.

    Raises:
        StorageError: if the database or the disk fails.
    """
    run = _opener[0](batch)
    try:
        if stage != "end":
            run.reach(phase, stage)
        else:
            {PREPARE: run.prepare, UNLEARN: run.unlearn, RELEASE: run.release}[phase]()
    except StorageError:
        raise
    except (NeuralyzerError, ArithmeticError, OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        run.fail(error, phase)
        return {"stage": stage, "failed": type(error).__name__}
    return {"stage": stage, "failed": None}


@DBOS.workflow()
def phase_of(batch: str, phase: str) -> str:
    """Run a phase of a batch."""
    for stage in (*STAGES[phase], "end"):
        done = reached(batch, phase, stage)
        if done["failed"] is not None:
            return str(done["failed"])
    return "done"


def launch(database: str, worker: str, opener: "Callable[[str], Run]") -> None:
    """Connect this process to the queue, and take runs from it.

    Args:
        database: URL of DBOS's own tables.
        worker: id of this process.
        opener: opens a run by its batch.
    """
    _opener[:] = [opener]
    config: DBOSConfig = {
        "name": NAME, "system_database_url": database, "application_version": VERSION, "executor_id": worker,
        "serializer": DBOSPortableJSONSerializer(), "log_level": "WARNING",
    }  # fmt: skip
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=POLL)


def enqueue(batch: str, phase: str, tries: int) -> str:
    """Put a phase on the queue unless it is there.

    The id of a workflow is never used for another try, since DBOS would return the first one's result.

    Returns:
        Its state in DBOS's words.
    """
    with SetWorkflowID(f"{batch}-{phase}-{tries}"):
        handle = DBOS.enqueue_workflow(QUEUE, phase_of, batch, phase)
    return handle.get_status().status


def pending() -> dict[str, str | None]:
    """Return the worker of each phase that one has begun and not ended."""
    return {found.workflow_id: found.executor_id for found in DBOS.list_workflows(status=["PENDING"])}


def resume(workflow: str) -> None:
    """Put a dead worker's phase on the queue again; its finished steps are kept."""
    DBOS.resume_workflow(workflow)


def leave() -> None:
    """Leave the queue; a phase that runs is taken up by another worker, or by the next one here."""
    DBOS.destroy()
    _opener.clear()
