"""``Worker``: a process that keeps the schedule and works on runs. Any number of them share a database and a workspace."""

import datetime as dt
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from neuralyzer.errors import StorageError, first_line
from neuralyzer.project.project import Project
from neuralyzer.service import workflow
from neuralyzer.service.chores import Chores, Repeated
from neuralyzer.service.leases import PERIOD, Leases
from neuralyzer.service.opening import opened, require_recipe
from neuralyzer.service.run import Run
from neuralyzer.service.schedule import Phase, schedule
from neuralyzer.service.settings import Settings
from neuralyzer.service.workers import SILENCE, Workers, new_id

TICK = 0.5  # seconds between two looks at the schedule
IDLE = 5.0  # seconds between two looks at what waits, while nothing happens
SCHEDULE = "schedule"  # lease of the worker that keeps it
QUEUE = "queue.sqlite"  # DBOS's tables, where the service's are in SQLite
AWAY = 3.0  # seconds to wait for a database that is away
CALLBACKS = 2.0  # seconds between two looks at what consent platforms must be told
AWAY_ERRORS = (StorageError, SQLAlchemyError)  # the second are DBOS's
UNKNOWN = 3600.0  # seconds of a run, while none was timed

log = logging.getLogger("neuralyzer.service")


class Worker:
    """A worker.

    Args:
        path: of the project file; it is read anew for each run.
        period: seconds after which a lease ends and a silent worker counts as dead.
        server: process that started it, without which it ends: a new server starts workers of its own.
    """

    def __init__(self, path: Path, period: float = PERIOD, server: int | None = None) -> None:
        self.path, self.id, self._server = path, new_id(), server
        self.project = Project.read(path)
        self.settings = Settings.of(self.project)
        require_recipe(self.settings, self.project)
        self.requests = opened(self.settings)
        self.leases = Leases(self.requests.database, self.id, period)
        self.workers = Workers(self.requests.database, min(period, SILENCE))
        self.chores = Chores(self.project, self.settings, self.requests)
        self._run: tuple[str, Run] | None = None
        self._idle: tuple[int, float] | None = None  # newest event when nothing was to be done, and when that was
        self._stopped = threading.Event()

    def work(self) -> None:
        """Work until ``stop`` is called."""
        self.workers.beat(self.id)
        workflow.launch(self._queue(), self.id, self.open)
        callbacks = Repeated("callbacks", self._notify, CALLBACKS)  # beside the rest, since hosts may take their time
        try:
            while not self._stopped.wait(TICK):
                if self._server not in (None, os.getppid()):
                    log.warning("the server is gone; its worker ends")
                    os._exit(1)  # as a kill, which loses nothing: a training must not go on for hours first
                self._look()
                callbacks.check()
        finally:
            callbacks.stop()
            workflow.leave()
            self.leases.give_back(SCHEDULE)
            self.workers.forget(self.id)

    def _look(self) -> None:
        """Keep the schedule; where the database is away, wait for it."""
        try:
            self.tick(dt.datetime.now(dt.UTC))
        except AWAY_ERRORS as error:
            log.warning("%s; tried again in %.0f s", first_line(error), AWAY)
            self._stopped.wait(AWAY)

    def stop(self) -> None:
        """End after the present look at the schedule; a run that goes on is taken up by another worker."""
        self._stopped.set()

    def tick(self, now: dt.datetime) -> None:
        """Give a heartbeat; as keeper of the schedule, begin what is next and take up what dead workers left."""
        self.workers.beat(self.id, None if self._run is None else self._run[0])
        if not self.leases.take(SCHEDULE):
            return
        for name, worker in workflow.pending().items():
            if worker != self.id and self.workers.is_dead(str(worker)):
                self.leases.end_those_of(str(worker))
                workflow.resume(name)
        self.chores.record()
        self.chores.delete(now)
        for phase in self._phases(now):
            self._enqueue(phase)

    def _phases(self, now: dt.datetime) -> list[Phase]:
        """Return what workers should be at; where that was nothing, and nothing has happened since, look only now and then.

        Thousands may wait for a batch, and to read them takes a while.
        """
        newest, moment = self.requests.newest(), time.monotonic()
        if self._idle is not None and self._idle[0] == newest and moment - self._idle[1] < IDLE:
            return []
        phases = schedule(self.requests, self.settings, now, self._seconds())
        self._idle = None if phases else (newest, moment)
        return phases

    def open(self, batch: str) -> Run:
        """Return the run of a batch; the last one is kept, so that its stages load data and model once."""
        if self._run is None or self._run[0] != batch:
            project = Project.read(self.path)
            self._run = batch, Run(project, self.requests, batch, self.leases)
        return self._run[1]

    def _enqueue(self, phase: Phase) -> None:
        """Put a phase on the queue; where its workflow ended without a result, its requests are put back."""
        state = workflow.enqueue(*phase)
        if state in workflow.ENDED:
            batch, name, _ = phase
            self.open(batch).fail(RuntimeError(f"the workflow of {batch} ended as {state}"), name)

    def _notify(self) -> None:
        try:
            if self.leases.take(SCHEDULE):
                self.chores.notify()
        except AWAY_ERRORS:  # told by _look, which meets the same
            self._stopped.wait(AWAY)

    def _seconds(self) -> float:
        """Return how long a run is predicted to take: as long as a training, or an hour where none was timed."""
        return self.project.training_seconds or UNKNOWN

    def _queue(self) -> str:
        """Return the URL of DBOS's tables; SQLite is set to write ahead, in which a step costs a quarter."""
        url = self.settings.database
        if not url.startswith("sqlite"):
            return url
        path = self.settings.workspace / QUEUE
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA journal_mode=WAL")
        database.close()
        return f"sqlite:///{path}"
