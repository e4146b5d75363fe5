"""The check of a whole ledger: which entries were changed, removed or put elsewhere."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import tree
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.store import Store
from neuralyzer.ledger.tree import Node

MISSING = "is missing"
Numbered = tuple[int, bytes]


@dataclass(frozen=True)
class Fault:
    """Entries that are not what they were.

    Attributes:
        first: position of the first one.
        last: position of the last one.
        what: happened to them, in words.
    """

    first: int
    last: int
    what: str

    def __str__(self) -> str:
        """Return it in one line."""
        if self.first == self.last:
            return f"entry {self.first:,} {self.what}"
        return f"entries {self.first:,} to {self.last:,}: one of them {self.what}"


def check(store: Store, checkpoints: Sequence[Checkpoint] = ()) -> list[Fault]:
    """Compare every entry with its hash, every hash with those below it, and earlier checkpoints with the tree.

    An entry that was changed alone is named. One that was changed with the hash beside it is named within its pair, and
    so on up the tree. Where all hashes were made anew, a checkpoint finds it; of several, the smallest that no longer
    fits says from where on.

    Args:
        store: the ledger.
        checkpoints: of this ledger, whose signatures were verified before.

    Returns:
        Faults in the order of their entries; none if all is as it was.
    """
    size, faults = len(store), list[Fault]()
    hashes = _entries(store, faults)
    for level in range(1, size.bit_length() + 1):
        hashes = _level(store, level, size, _parents(hashes), faults)
    deque(hashes, maxlen=0)  # reads all levels together, each once
    return sorted([*faults, *_against(store, size, checkpoints)], key=lambda fault: (fault.first, fault.last))


def _entries(store: Store, faults: list[Fault]) -> Iterator[Numbered]:
    """Compare entries with the hashes of their leaves, and yield these."""
    expected = 0
    for position, content, hashed in _joined(store.entries(), store.level(0)):
        faults += (Fault(place, place, MISSING) for place in range(expected, position))
        expected = position + 1
        if content is None:
            faults.append(Fault(position, position, MISSING))
        elif hashed is None:
            faults.append(Fault(position, position, "has no hash beside it"))
        elif hashed != tree.leaf_hash(content):
            faults.append(Fault(position, position, "was changed, or another entry was put in its place"))
        if hashed is not None:
            yield position, hashed


def _level(store: Store, level: int, size: int, parents: Iterable[Numbered], faults: list[Fault]) -> Iterator[Numbered]:
    """Compare the hashes of a level with those of the level below, and yield them; what is missing is told there."""
    for index, hashed, below in _joined(store.level(level), parents):
        node = Node(level, index)
        if hashed is None:
            faults.append(_of(node, "has no hash above it"))
        elif below is not None and hashed != below:
            faults.append(_of(node, "was changed together with its hash, or its hash was"))
        elif below is None and index >= size >> level:
            faults.append(_of(node, MISSING))
        if hashed is not None:
            yield index, hashed


def _parents(hashes: Iterable[Numbered]) -> Iterator[Numbered]:
    """Yield the hash above each two neighbours that have the same parent."""
    left = (-1, b"")
    for index, hashed in hashes:
        if index & 1 and left[0] == index - 1:
            yield index >> 1, tree.inner_hash(left[1], hashed)
        left = index, hashed


def _joined(first: Iterable[Numbered], second: Iterable[Numbered]) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """Yield each number of two ascending sequences with what both have for it; None where one has nothing."""
    end = (sys.maxsize, None)
    a, b = iter(first), iter(second)
    left: tuple[int, bytes | None] = next(a, end)
    right: tuple[int, bytes | None] = next(b, end)
    while (number := min(left[0], right[0])) < sys.maxsize:
        yield number, left[1] if left[0] == number else None, right[1] if right[0] == number else None
        left = next(a, end) if left[0] == number else left
        right = next(b, end) if right[0] == number else right


def _of(node: Node, what: str) -> Fault:
    return Fault(node.index << node.level, (node.index + 1 << node.level) - 1, what)


def _against(store: Store, size: int, checkpoints: Sequence[Checkpoint]) -> Iterator[Fault]:
    before = 0
    for checkpoint in sorted(checkpoints, key=lambda known: known.size):
        if checkpoint.size > size:
            yield Fault(size, checkpoint.size - 1, f"{MISSING}: a checkpoint counts {checkpoint.size:,} entries")
            return
        try:
            same = tree.root(checkpoint.size, store.hashes) == checkpoint.root
        except LedgerError:
            same = False
        if not same:
            yield Fault(before, checkpoint.size - 1, "was changed, and hashes with it: a checkpoint has another root")
            return
        before = checkpoint.size
