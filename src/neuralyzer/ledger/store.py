"""The ledger's tables, in SQLite or PostgreSQL: entries in order, and the hashes of complete subtrees."""

import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from neuralyzer.errors import LedgerError, StorageError, UsageError, first_line
from neuralyzer.ledger import tree
from neuralyzer.ledger.tree import Node

LOCK = 0x6E65_7572  # PostgreSQL's advisory lock of writers: 'neur'
READ = 10_000  # rows that are read at once
ASKED = 200  # nodes that one query names
INDEX_BITS = 48  # of a node's number; the rest is its level

_tables = sa.MetaData()
_entries = sa.Table(
    "ledger_entries",
    _tables,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_nodes = sa.Table(
    "ledger_nodes",
    _tables,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # level and index, see _number
    sa.Column("hash", sa.LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class Entry:
    """An entry to append.

    Attributes:
        key: names the event; an event that is told again is not written again.
        body: what is hashed, and never changes.
    """

    key: str
    body: bytes


class Store:
    """The tables of one ledger. All writers take turns; an append happens completely or not at all.

    Args:
        url: of the database, ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``; tables are made on first use.

    Raises:
        UsageError: if this is no URL of a database that can be used.
        StorageError: if the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        weakref.finalize(self, self._engine.dispose)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _durable)
            sa.event.listen(self._engine, "begin", _begin)
        with self._transaction(writes=True) as connection:
            _tables.create_all(connection)

    def __len__(self) -> int:
        """Return the number of entries."""
        with self._transaction() as connection:
            return _size(connection)

    def close(self) -> None:
        """Close the connections, which also happens when the store is no longer used."""
        self._engine.dispose()

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Append entries, in order.

        Args:
            entries: new ones, or ones that were appended before.

        Returns:
            The position of each.

        Raises:
            LedgerError: if an entry of that key has another body.
        """
        with self._transaction(writes=True) as connection:
            known = _known(connection, [entry.key for entry in entries])
            size = _size(connection)
            new: dict[str, Entry] = {}
            for entry in entries:
                body = known[entry.key][1] if entry.key in known else new.setdefault(entry.key, entry).body
                if body != entry.body:
                    raise LedgerError(f"the ledger has another entry {entry.key!r}; an entry never changes")
            places = {key: size + place for place, key in enumerate(new)}
            if new:
                rows = [{"position": places[key], "key": key, "body": entry.body} for key, entry in new.items()]
                leaves = [tree.leaf_hash(entry.body) for entry in new.values()]
                made = tree.appended(size, _hashes(connection, tree.complete((0, size))), leaves)
                connection.execute(sa.insert(_entries), rows)
                connection.execute(
                    sa.insert(_nodes),
                    [{"number": _number(node), "hash": value} for node, value in made.items()],
                )
            return [places[entry.key] if entry.key in places else known[entry.key][0] for entry in entries]

    def hashes(self, nodes: Iterable[Node]) -> dict[Node, bytes]:
        """Return the stored hashes of complete subtrees.

        Raises:
            LedgerError: if one is missing.
        """
        with self._transaction() as connection:
            return _hashes(connection, list(nodes))

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield positions and bodies of the entries from ``start`` on, in order."""
        return self._ascending(_entries.c.position, _entries.c.body, start, sys.maxsize)

    def level(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Yield indices and stored hashes of the complete subtrees of a level, in order."""
        first, end = _number(Node(level, 0)), _number(Node(level + 1, 0))
        return (
            (number - first, value) for number, value in self._ascending(_nodes.c.number, _nodes.c.hash, first, end)
        )

    def _ascending(
        self, key: sa.Column[int], value: sa.Column[bytes], start: int, end: int
    ) -> Iterator[tuple[int, bytes]]:
        """Yield a table's keys from ``start`` up to, not including, ``end`` with their values."""
        while True:
            with self._transaction() as connection:
                wanted = sa.select(key, value).where(key >= start, key < end).order_by(key).limit(READ)
                rows = connection.execute(wanted).all()
            yield from ((int(number), bytes(content)) for number, content in rows)
            if len(rows) < READ:
                return
            start = rows[-1][0] + 1

    @contextmanager
    def _transaction(self, writes: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction; one that writes has no other writer beside it."""
        try:
            with self._engine.connect().execution_options(writes=writes) as connection, connection.begin():
                if writes and self._engine.dialect.name == "postgresql":
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
                yield connection
        except DBAPIError as error:
            raise StorageError(f"the ledger's database gives an error: {first_line(error)}") from error


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed)
    except ArgumentError as error:  # its message would show the password of a URL
        raise UsageError("the ledger's database is no URL such as sqlite:////folder/ledger.sqlite") from error
    except ModuleNotFoundError as error:
        raise UsageError(
            "the ledger's database needs a driver; pip install 'neuralyzer-unlearning[service]'"
        ) from error


def _size(connection: sa.Connection) -> int:
    last = connection.execute(sa.select(sa.func.max(_entries.c.position))).scalar()
    return 0 if last is None else int(last) + 1


def _known(connection: sa.Connection, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    found: dict[str, tuple[int, bytes]] = {}
    for start in range(0, len(keys), ASKED):
        some = keys[start : start + ASKED]
        wanted = sa.select(_entries.c.key, _entries.c.position, _entries.c.body).where(_entries.c.key.in_(some))
        found |= {key: (int(position), bytes(body)) for key, position, body in connection.execute(wanted)}
    return found


def _hashes(connection: sa.Connection, nodes: Sequence[Node]) -> dict[Node, bytes]:
    numbers = {_number(node): node for node in nodes}
    found: dict[Node, bytes] = {}
    asked = list(numbers)
    for start in range(0, len(asked), ASKED):
        wanted = sa.select(_nodes).where(_nodes.c.number.in_(asked[start : start + ASKED]))
        found |= {numbers[number]: bytes(value) for number, value in connection.execute(wanted)}
    for node in nodes:
        if node not in found:
            raise LedgerError(f"the ledger lacks the hash of entries {node.index << node.level:,} and on; check it")
    return found


def _number(node: Node) -> int:
    return node.level << INDEX_BITS | node.index


def _durable(connection: Any, record: object) -> None:
    """Set up a connection to SQLite: the driver begins no transaction, and what was written survives a crash."""
    connection.isolation_level = None
    for setting in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    """Begin a transaction in SQLite; a writer takes the lock at once, since it could not later."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
