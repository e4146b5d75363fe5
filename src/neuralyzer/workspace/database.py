"""A database in SQLite or PostgreSQL whose writes survive a crash, and whose writers take turns."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from neuralyzer.errors import StorageError, UsageError, first_line


class Database:
    """The tables of one purpose.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql://user@host/name``; tables are made on first use.
        tables: to make.
        lock: number of PostgreSQL's advisory lock that the writers of these tables take.
        what: names the database in errors.

    Raises:
        UsageError: if the URL names no database that can be used.
        StorageError: if it cannot be reached.
    """

    def __init__(self, url: str, tables: sa.MetaData, lock: int, what: str) -> None:
        self._lock, self._what = lock, what
        self.engine = _engine(url, what)
        weakref.finalize(self, self.engine.dispose)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _durable)
            sa.event.listen(self.engine, "begin", _begin)
        with self.transaction(writes=True) as connection:
            tables.create_all(connection)

    @contextmanager
    def transaction(self, writes: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction; one that writes has no other writer beside it.

        Args:
            writes: whether it writes.

        Yields:
            The connection; what was done on it is kept if no exception is raised.

        Raises:
            StorageError: if the database gives an error.
        """
        try:
            with self.engine.connect().execution_options(writes=writes) as connection, connection.begin():
                if writes and self.engine.dialect.name == "postgresql":
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(self._lock)))
                yield connection
        except DBAPIError as error:
            raise StorageError(f"{self._what} gives an error: {first_line(error)}") from error

    def close(self) -> None:
        """Close all connections, which also happens when the database is no longer used."""
        self.engine.dispose()


def _engine(url: str, what: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, pool_pre_ping=True)  # a database that was started again is found again
    except (ArgumentError, NoSuchModuleError) as error:  # a message of the first would show the password of a URL
        raise UsageError(
            f"{what} is no URL such as sqlite:////folder/name.sqlite or postgresql://user@host/name"
        ) from error
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} needs a driver; pip install 'neuralyzer-unlearning[service]'") from error


def _durable(connection: Any, record: object) -> None:
    """Set up a connection to SQLite: the driver begins no transaction, and what was written survives a crash."""
    connection.isolation_level = None
    for setting in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction in SQLite; a writer takes the lock at once, since it could not later."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
