"""The workers of a service: who is alive, as heartbeats tell."""

import os
import secrets
import socket
import time

import sqlalchemy as sa

from neuralyzer.service.tables import workers
from neuralyzer.workspace.atomic import is_running
from neuralyzer.workspace.database import Database

SILENCE = 15.0  # seconds without a heartbeat after which a worker counts as dead


def new_id() -> str:
    """Return an id of this process: host, process and a random part, so that it is never used again."""
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname().lower())
    return f"{host}.{os.getpid()}.{secrets.token_hex(3)}"


class Workers:
    """The workers in a database.

    Args:
        database: of the service.
        silence: seconds without a heartbeat after which a worker counts as dead.
    """

    def __init__(self, database: Database, silence: float = SILENCE) -> None:
        self._database, self.silence = database, silence

    def beat(self, worker: str, busy: str | None = None) -> None:
        """Tell that a worker is alive, and the batch that it works on."""
        values = {"beat": time.time(), "busy": busy}
        with self._database.transaction(writes=True) as connection:
            changed = connection.execute(sa.update(workers).where(workers.c.id == worker).values(**values))
            if not changed.rowcount:
                connection.execute(sa.insert(workers).values(id=worker, **values))

    def alive(self) -> dict[str, float]:
        """Return the seconds since the last heartbeat of each worker that is alive."""
        return {worker: age for worker, age in self._ages().items() if not self._dead(worker, age)}

    def is_dead(self, worker: str) -> bool:
        """Return whether a worker is dead; one that never gave a heartbeat is."""
        age = self._ages().get(worker)
        return age is None or self._dead(worker, age)

    def forget(self, worker: str) -> None:
        """Remove a worker that has ended."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker))

    def _ages(self) -> dict[str, float]:
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(workers.c.id, workers.c.beat)).all()
        now = time.time()
        return {worker: now - beat for worker, beat in rows}

    def _dead(self, worker: str, age: float) -> bool:
        """Return whether it is silent, or its process on this machine is gone."""
        host, process, _ = worker.rsplit(".", 2)
        if host == new_id().rsplit(".", 2)[0] and not is_running(int(process)):
            return True
        return age > self.silence
