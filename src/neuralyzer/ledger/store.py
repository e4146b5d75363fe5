"""The ledger's tables, in SQLite or PostgreSQL: entries in order, and the hashes of complete subtrees."""

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import tree
from neuralyzer.ledger.tree import Node
from neuralyzer.workspace.database import Database

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
    """An entry.

    Attributes:
        key: names the event, in one line; an event that is told again is not written again.
        body: what is told of it, and never changes.
    """

    key: str
    body: bytes

    @property
    def content(self) -> bytes:
        """The bytes that are hashed: the key in a line of its own, then the body."""
        return self.key.encode("unicode_escape") + b"\n" + self.body  # a new line in a key must not end it

    @classmethod
    def parse(cls, content: bytes) -> "Entry":
        """Take an entry's content apart.

        Returns:
            The entry.

        Raises:
            LedgerError: if this is no entry.
        """
        key, separator, body = content.partition(b"\n")
        if not separator or not key.isascii():
            raise LedgerError("this is no entry of a ledger: it must begin with a key in a line of its own")
        return cls(key.decode("unicode_escape"), body)


class Store:
    """The tables of one ledger. All writers take turns; an append happens completely or not at all.

    Args:
        url: of the database, ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``; tables are made on first use.

    Raises:
        UsageError: if this is no URL of a database that can be used.
        StorageError: if the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, _tables, LOCK, "the ledger's database")

    def __len__(self) -> int:
        """Return the number of entries."""
        with self._database.transaction() as connection:
            return _size(connection)

    def close(self) -> None:
        """Close the connections, which also happens when the store is no longer used."""
        self._database.close()

    def append(self, entries: Sequence[Entry], same: Callable[[bytes, bytes], bool] = operator.eq) -> list[int]:
        """Append entries, in order; those that are there already stay as they are.

        Args:
            entries: new ones, or ones that were appended before.
            same: whether the body of an entry that is there and a body told again are about the same.

        Returns:
            The position of each.

        Raises:
            LedgerError: if an entry of that key has another body.
        """
        with self._database.transaction(writes=True) as connection:
            known = _known(connection, [entry.key for entry in entries])
            size = _size(connection)
            new: dict[str, Entry] = {}
            for entry in entries:
                body = known[entry.key][1] if entry.key in known else new.setdefault(entry.key, entry).body
                if body is not entry.body and not same(body, entry.body):
                    raise LedgerError(f"the ledger has another entry {entry.key!r}; an entry never changes")
            places = {key: size + place for place, key in enumerate(new)}
            if new:
                rows = [{"position": places[key], "key": key, "body": entry.body} for key, entry in new.items()]
                leaves = [tree.leaf_hash(entry.content) for entry in new.values()]
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
        with self._database.transaction() as connection:
            return _hashes(connection, list(nodes))

    def find(self, keys: Sequence[str]) -> dict[str, tuple[int, Entry]]:
        """Return the entries of some keys with their positions; nothing of a key that has none."""
        with self._database.transaction() as connection:
            found = _known(connection, keys)
        return {key: (position, Entry(key, body)) for key, (position, body) in found.items()}

    def entry(self, position: int) -> Entry:
        """Return one entry.

        Raises:
            LedgerError: if it is not there.
        """
        for place, content in self.entries(position, position + 1):
            if place == position:
                return Entry.parse(content)
        raise LedgerError(f"the ledger has no entry {position:,}")

    def entries(self, start: int = 0, end: int = sys.maxsize) -> Iterator[tuple[int, bytes]]:
        """Yield positions and contents of the entries from ``start`` up to, not including, ``end``, in order."""
        rows = self._ascending(_entries, start, end)
        return ((position, Entry(key, bytes(body)).content) for position, key, body in rows)

    def level(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Yield indices and stored hashes of the complete subtrees of a level, in order."""
        first, end = _number(Node(level, 0)), _number(Node(level + 1, 0))
        return ((number - first, bytes(value)) for number, value in self._ascending(_nodes, first, end))

    def _ascending(self, table: sa.Table, start: int, end: int) -> Iterator[Any]:
        """Yield a table's rows whose first column is at least ``start`` and below ``end``, in order."""
        (number,) = table.primary_key
        columns = [  # SQLite keeps what it is given: text in place of bytes is read as such, and does not fit its hash
            sa.cast(column, column.type) if isinstance(column.type, sa.LargeBinary) else column for column in table.c
        ]
        while True:
            with self._database.transaction() as connection:
                wanted = sa.select(*columns).where(number >= start, number < end).order_by(number).limit(READ)
                rows = connection.execute(wanted).all()
            yield from rows
            if len(rows) < READ:
                return
            start = rows[-1][0] + 1


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
