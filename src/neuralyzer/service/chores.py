"""What the keeper of the schedule does beside it: tells the ledger and consent platforms, and deletes what is over."""

import datetime as dt
import logging
import threading
from collections.abc import Callable

from neuralyzer.project import records
from neuralyzer.project.project import Project
from neuralyzer.service.opendsr import notify
from neuralyzer.service.recording import record
from neuralyzer.service.requests import Requests
from neuralyzer.service.settings import Settings

log = logging.getLogger("neuralyzer.service")
DAILY = dt.timedelta(hours=24)


class Chores:
    """The chores of a service.

    Args:
        project: of the model.
        settings: of the service.
        requests: of the service.
    """

    def __init__(self, project: Project, settings: Settings, requests: Requests) -> None:
        self._project, self._settings, self._requests = project, settings, requests
        self._deleted: dt.datetime | None = None

    def record(self) -> None:
        """Tell the ledger of every event that it does not have."""
        while record(self._requests, self._project.ledger):
            pass

    def delete(self, now: dt.datetime) -> None:
        """Once a day delete what was kept for a while and is over."""
        if self._deleted is None or now - self._deleted >= DAILY:
            self._deleted = now
            with self._project.locked():
                records.destroy_expired(self._project, now.date())

    def notify(self) -> None:
        """Tell consent platforms of requests whose state has changed; each state once, taken or not."""
        workspace = self._project.workspace
        for request in self._requests.untold():
            for sent in notify(request, self._settings, workspace):
                facts = {"host": sent.host, "status": sent.status, "tries": sent.tries, "problem": sent.problem}
                self._requests.show([request.id], "platform told", facts)
            self._requests.mark_told(request.id, request.state)


class Repeated:
    """A thread that does something again and again, until it is stopped.

    Args:
        name: of the thread.
        work: is done each time.
        seconds: between two times.
    """

    def __init__(self, name: str, work: Callable[[], None], seconds: float) -> None:
        self._work, self._seconds, self._over = work, seconds, threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise the error that ended it, if one did."""
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Stop after what it is at."""
        self._over.set()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._seconds):
                self._work()
        except Exception as error:  # noqa: BLE001  raised again by check()
            log.error("%s has ended: %s", self._thread.name, type(error).__name__)
            self._failed = error
