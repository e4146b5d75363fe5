"""Leases: who holds a model's lineage, or the schedule, where workers are on several machines."""

import contextlib
import threading
import time
from collections.abc import Iterator

import sqlalchemy as sa

from neuralyzer.errors import StorageError
from neuralyzer.service.tables import leases
from neuralyzer.workspace.database import Database

PERIOD = 15.0  # seconds after which a lease that is not renewed has ended
POLL = 0.2  # seconds between two attempts to take one


class Leases:
    """The leases in a database. Times are the database machine's where it is PostgreSQL, else this machine's.

    Args:
        database: of the service.
        holder: names this process.
        period: seconds after which a lease ends that is not renewed.
    """

    def __init__(self, database: Database, holder: str, period: float = PERIOD) -> None:
        self._database, self.holder, self.period = database, holder, period

    def take(self, name: str) -> bool:
        """Take or renew a lease; return whether this process holds it now."""
        with self._database.transaction(writes=True) as connection:
            now = _now(connection)
            row = connection.execute(sa.select(leases).where(leases.c.name == name)).first()
            if row is not None and row.holder != self.holder and row.until > now:
                return False
            values = {"name": name, "holder": self.holder, "until": now + self.period}
            if row is None:
                connection.execute(sa.insert(leases).values(**values))
            else:
                connection.execute(sa.update(leases).where(leases.c.name == name).values(**values))
            return True

    def give_back(self, name: str) -> None:
        """End a lease that this process holds."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(leases).where(leases.c.name == name, leases.c.holder == self.holder))

    def end_those_of(self, holder: str) -> None:
        """End the leases of a process that is known to be dead."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(leases).where(leases.c.holder == holder))

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Wait for a lease, and renew it in a thread until the block ends.

        Args:
            name: of the lease.

        Yields:
            Once it is held.
        """
        while not self.take(name):
            time.sleep(POLL)
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.period / 3):
                with contextlib.suppress(StorageError):  # while the database is away, nobody else can take it
                    self.take(name)

        thread = threading.Thread(target=renew, name=f"lease {name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.give_back(name)


def _now(connection: sa.Connection) -> float:
    """Return seconds since 1970 by one clock for all workers."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()
