"""Work that takes longer than a page: one at a time, in a thread, its result kept until the next one begins."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from neuralyzer.errors import NeuralyzerError
from neuralyzer.service.api import problems
from neuralyzer.service.api.problems import Problem

log = logging.getLogger("neuralyzer.service")


@dataclass(frozen=True)
class Job:
    """A piece of work.

    Attributes:
        owner: id of the token that began it.
        began: seconds since 1970.
        ended: seconds since 1970; None while it goes on.
        result: of it; None while it goes on, or if it failed.
        wrong: why it failed, in a sentence.
    """

    owner: str
    began: float
    ended: float | None = None
    result: Any = None
    wrong: str = ""


class Jobs:
    """The work of one kind in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Job | None = None

    @property
    def last(self) -> Job | None:
        """Return the work that goes on, or that was done last."""
        return self._last

    def start(self, owner: str, work: Callable[[], Any], name: str) -> None:
        """Begin work in a thread.

        Args:
            owner: id of the token that asks for it.
            work: returns the result.
            name: of the thread.

        Raises:
            Problem: 409 while other work of this kind goes on.
        """
        with self._lock:
            if self._last is not None and self._last.ended is None:
                raise Problem(409, "one is under way already; wait until it is done")
            self._last = job = Job(owner, time.time())
        threading.Thread(target=self._work, args=(job, work), name=name, daemon=True).start()

    def _work(self, job: Job, work: Callable[[], Any]) -> None:
        result, wrong = None, ""
        try:
            result = work()
        except NeuralyzerError as error:
            wrong = str(error)
        except Exception as error:  # noqa: BLE001  nobody waits for the thread; the log says where, the page that it failed
            log.error("%s at %s", type(error).__name__, problems.place(error))
            wrong = "it failed; the service's log says where"
        self._last = Job(job.owner, job.began, time.time(), result, wrong)


def new() -> dict[str, Jobs]:
    """Return the places of an application's work: the check of the ledger, and the audit of a claim."""
    return {"check": Jobs(), "claim": Jobs()}


def of(request: Request, kind: str) -> Jobs:
    """Return the work of one kind."""
    jobs: dict[str, Jobs] = request.app.state.jobs
    return jobs[kind]
