"""``Run``: a batch of requests answered in three phases, each of which may be called again after a kill.

The case folders are the truth: a phase that is called again goes on at their last finished stage, and no change of state
is written twice.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from neuralyzer.cases.batch import Batch
from neuralyzer.cases.case import succeeded
from neuralyzer.cases.closing import Ended, close, remove_names
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.stages import Stages
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import ForgetSetError, NeuralyzerError, StorageError, UnknownSubjectError, first_line
from neuralyzer.integrations.mlflow import Registry
from neuralyzer.models import threads
from neuralyzer.models.trained import TrainedModel
from neuralyzer.project.lineage import Version
from neuralyzer.project.pool import PoolPlan
from neuralyzer.project.project import Project
from neuralyzer.service.leases import Leases
from neuralyzer.service.request import Change, Request
from neuralyzer.service.requests import Requests
from neuralyzer.service.states import WORKED_ON, State
from neuralyzer.service.watch import Watch
from neuralyzer.workspace import digests, locks

PREPARE, UNLEARN, RELEASE = "prepare", "unlearn", "release"  # the phases
# The stages before a phase's last one.
STAGES = {PREPARE: ("references", "location", "audited"), UNLEARN: ("unlearned",), RELEASE: ()}
ALONE: dict[str, Any] = {
    "alone": True,
    "batch": None,
    "case": None,
    "approved": None,
}  # of a request that failed in a batch
TRIES = 4  # before a person is asked
FIRST_WAIT = dt.timedelta(minutes=1)  # after an error; doubled each time


class Run:
    """The phases of one batch.

    Args:
        project: of the model.
        requests: of the service.
        batch: id of the batch.
        leases: where workers are on several machines; the lineage is then held by one, besides by the lock of its file.
    """

    def __init__(self, project: Project, requests: Requests, batch: str, leases: Leases | None = None) -> None:
        self.project, self.requests, self.batch, self._leases = project, requests, batch, leases
        self._opened: dict[int, TrainedModel] = {}  # by version: read once for all stages of a phase

    def reach(self, phase: str, stage: str) -> None:
        """Run the stages of a phase up to one of them, whose result is then in a case's folder.

        Args:
            phase: ``PREPARE`` or ``UNLEARN``.
            stage: one of ``STAGES[phase]``.
        """
        with self._working() as oracle:
            present = self._in(State.PREPARING if phase == PREPARE else State.UNLEARNING)
            if phase == PREPARE:
                present = self._answerable(oracle, present)
            if present:
                batch = self._batch(oracle, present)
                if stage == "references":
                    self._make_references(oracle, present)
                elif phase == PREPARE:
                    getattr(batch.together, stage)
                elif not self._outdated(present, batch):
                    batch.unlearn()

    def prepare(self) -> None:
        """Locate, audit and plan; then the requests wait for approval, or for their turn."""
        with self._working() as oracle:
            present = self._answerable(oracle, self._in(State.PREPARING))
            if not present:
                return
            stages = self._batch(oracle, present).together
            plan, audited = stages.planned, stages.audited
            options = [option.to_dict() for option in plan.options if option.feasible or option.chosen]
            facts = {
                "version": self.project.lineage.current, "case": stages.case, "audit": str(audited.verdict),
                "method": plan.chosen.method, "together": len(present), "note": plan.note, "options": options,
            }  # fmt: skip
            self._move(present, State.PLANNED, "planned", facts, case=stages.case)

    def unlearn(self) -> None:
        """Unlearn, then judge and certify each request alone; one that failed in company has a run of its own next."""
        with self._working() as oracle:
            present = self._in(State.UNLEARNING)
            if not present:
                return
            batch = self._batch(oracle, present)
            if self._outdated(present, batch):
                self._plan_again(present)
                return
            batch.finish()
            # All change together, since a run that goes on after a kill must find the same requests again.
            self.requests.change(
                [
                    self._rejected(request, stages, batch.rejected[stages.case])
                    if stages.case in batch.rejected
                    else self._judged(request, stages, alone=len(present) == 1)
                    for request, stages in zip(present, batch.cases, strict=True)
                ]
            )

    def release(self) -> None:
        """Make the new weights the current version, and erase what was measured on the rows."""
        with self._working() as oracle:
            present, place = self._in(State.JUDGED), self.project.workspace
            if not present:
                return
            version = self.project.lineage.version
            erasures = [_erasure(request) for request in present]
            if not all(self.project.answered(erasure) for erasure in erasures):
                folders = [Folder(place.cases / str(request.case)) for request in present]
                if any(folder.read("result")["weights"]["original"] != oracle.digest for folder in folders):
                    self._plan_again(present)  # else rows that were erased since would come back with these weights
                    return
                ended = [
                    Ended(str(request.case), folder, erasure.positions(oracle.data))
                    for request, folder, erasure in zip(present, folders, erasures, strict=True)
                ]
                cases = close(ended, oracle, lambda: self.project.references(oracle), place)
                version = self.project.succeed(oracle, list(zip(erasures, cases, strict=True)))
            weights = digests.of_file(self.project.weights_of(version))
            self._publish(version, weights)
            self._move(present, State.DONE, "released", {"version": version.number, "weights": weights})

    def _make_references(self, oracle: TrainedModel, present: Sequence[Request]) -> None:
        """Make the pool where there is none, or finish it, if the project wants that of workers."""
        plan = PoolPlan(self.project, oracle)
        if self.project.tables.get("references", {}).get("automatic", False) and plan.missing:
            plan.make(self._watch(present))

    def _publish(self, version: Version, digest: str) -> None:
        """Register a version with MLflow, where the project names one."""
        table = self.project.tables.get("mlflow")
        if table is not None:
            tags = {"neuralyzer.version": str(version.number), "neuralyzer.parent": str(version.parent)}
            path = self.project.weights_of(version)
            folder = path.parents[2] / "model"  # of an adapter or a language model, which others read
            Registry.of(table).publish(folder if folder.is_dir() else path, digest, tags)

    def fail(self, error: Exception, phase: str) -> None:
        """Put requests back after an error: they are tried again later, or wait for a person.

        Args:
            error: that ended a phase.
            phase: which; a release is tried again alone, since the weights are judged.
        """
        lasting = isinstance(error, NeuralyzerError) and not isinstance(error, StorageError)
        for request in self._in(*WORKED_ON, *([State.JUDGED] if phase == RELEASE else [])):
            tries = request.tries + 1
            wait = dt.datetime.now(dt.UTC) + FIRST_WAIT * 2 ** (tries - 1)
            again = tries < TRIES and not lasting
            facts = {"error": type(error).__name__, "tries": tries}
            columns = {
                "tries": tries, "message": f"{type(error).__name__}: {first_line(error)}",
                "not_before": wait.isoformat() if again else None,
            }  # fmt: skip
            if again and request.state is State.JUDGED:
                self.requests.note(request.id, "failed", facts, **columns)
            else:
                to = State.RECEIVED if again else State.NEEDS_PERSON
                columns |= dict.fromkeys(("batch", "approved", "case"))
                self.requests.change([Change(request.id, to, "failed", facts, columns)])

    @contextmanager
    def _working(self) -> Iterator[TrainedModel]:
        """Hold the model's lineage, and yield its current model."""
        project = self.project
        with ExitStack() as held:
            if self._leases is not None:
                held.enter_context(self._leases.held(f"lineage of {project.named['model']}"))
            held.enter_context(project.locked())
            version = project.lineage.current
            if version not in self._opened:
                self._opened = {version: project.oracle()}
            oracle = self._opened[version]
            lock = project.workspace.locks / f"{oracle.lineage[:16]}.lock"
            held.enter_context(locks.held(lock, "makes this model forget"))
            settled = threads.settled(project.workspace.threads, oracle.recipe, oracle.data)
            held.enter_context(threads.using(settled.count))
            yield oracle

    def _in(self, *states: State) -> list[Request]:
        return self.requests.find(states, batch=self.batch)

    def _answerable(self, oracle: TrainedModel, present: Sequence[Request]) -> list[Request]:
        """Return the requests that can be worked on; what is wrong with another one is told of it alone."""
        left = []
        for request in present:
            erasure = _erasure(request)
            answered = self.project.answered(erasure)
            if answered is not None:
                case = {"case": answered["case"], "verdict": answered["verdict"]}
                self._move([request], State.DONE, "answered before", case, **case)
                continue
            try:
                erasure.positions(oracle.data)
            except (UnknownSubjectError, ForgetSetError) as error:
                what = {"error": type(error).__name__}
                self._move([request], State.NEEDS_PERSON, "not found", what, message=first_line(error), batch=None)
                continue
            left.append(request)
        return left

    def _plan_again(self, present: Sequence[Request]) -> None:
        """Put requests back whose plan or weights were made from another model than the current one."""
        why = {"reason": "the model or the batch has changed since it was planned"}
        again = dict.fromkeys(("batch", "case", "approved", "verdict"))
        self._move(present, State.RECEIVED, "to be planned again", why, **again)

    def _outdated(self, present: Sequence[Request], batch: Batch) -> bool:
        """Return whether what was planned, and perhaps approved, is another case than the one that would now run."""
        return any(request.case != batch.together.case for request in present)

    def _batch(self, oracle: TrainedModel, present: Sequence[Request]) -> Batch:
        project = self.project
        watch = self._watch(present)
        return Batch(
            oracle, [_erasure(request) for request in present], lambda: project.references(oracle), project.workspace,
            project.options(), watch, watch, present[0].method if len(present) == 1 else None,
        )  # fmt: skip

    def _watch(self, present: Sequence[Request]) -> Watch:
        return Watch(self.requests, [request.id for request in present])

    def _rejected(self, request: Request, stages: Stages, why: str) -> Change:
        """Return what follows where a request of a batch came to no verdict: a run of its own."""
        facts = {"case": stages.case, "reason": why}
        return Change(request.id, State.RECEIVED, "escalated", facts, ALONE)

    def _judged(self, request: Request, stages: Stages, alone: bool) -> Change:
        """Return what follows from a request's verdict."""
        result = stages.folder.read("result")
        verdict = result["verdict"]
        facts = {
            "case": stages.case, "verdict": verdict, "method": result["unlearning"]["method"],
            "weights": result["weights"]["unlearned"],
        }  # fmt: skip
        columns: dict[str, Any] = {"case": stages.case, "verdict": verdict, "approved": None}
        if succeeded(result):
            return Change(request.id, State.JUDGED, "judged", facts, columns)
        if not alone:
            remove_names(stages.folder, self.project.workspace)  # the request has another case, which will be closed
            return Change(request.id, State.RECEIVED, "escalated", facts, columns | ALONE)
        message = f"{stages.case} is {verdict}; see its report"
        return Change(request.id, State.NEEDS_PERSON, "judged", facts, columns | {"message": message})

    def _move(self, present: Sequence[Request], to: State, kind: str, facts: dict[str, Any], **columns: Any) -> None:
        self.requests.move([request.id for request in present], to, kind, facts, **columns)


def _erasure(request: Request) -> ErasureRequest:
    assert request.erasure is not None
    return replace(request.erasure, received=request.received.date().isoformat())
