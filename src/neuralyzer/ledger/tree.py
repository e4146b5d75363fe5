"""The Merkle tree of RFC 9162, section 2.1: hashes, inclusion proofs and consistency proofs.

Nothing here reads or writes a ledger. A proof is made in two steps: which complete subtrees it needs (``Node``), and
what follows from their hashes; so a store is asked once. A complete subtree never changes when leaves are appended.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuralyzer.errors import LedgerError

EMPTY = hashlib.sha256(b"").digest()  # the root of no leaves
SIZE = 32  # bytes of a hash
Range = tuple[int, int]  # leaves from the first number up to, not including, the second


@dataclass(frozen=True, order=True)
class Node:
    """A complete subtree: the ``2 ** level`` leaves from ``index * 2 ** level`` on."""

    level: int
    index: int


Hashes = Mapping[Node, bytes]
Fetch = Callable[[Iterable[Node]], Hashes]  # reads the hashes of some complete subtrees


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf; its prefix differs from that of an inner node, so that none passes for the other."""
    return hashlib.sha256(b"\0" + entry).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with two children."""
    return hashlib.sha256(b"\1" + left + right).digest()


def complete(leaves: Range) -> list[Node]:
    """Return the complete subtrees that a range consists of, from left to right; one that RFC 9162 hashes as a tree."""
    start, end = leaves
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append(Node(level, start >> level))
        start += 1 << level
    return found


def appended(size: int, frontier: Hashes, leaves: Sequence[bytes]) -> dict[Node, bytes]:
    """Return the complete subtrees that appending makes.

    Args:
        size: leaves before.
        frontier: hashes of ``complete((0, size))``.
        leaves: hashes of the new leaves.

    Returns:
        Their hashes, the leaves among them.
    """
    new: dict[Node, bytes] = {}
    for place, hashed in enumerate(leaves, size):
        level, index = 0, place
        new[Node(0, place)] = hashed
        while index & 1:
            left = Node(level, index - 1)
            hashed = inner_hash(new[left] if left in new else frontier[left], hashed)
            level, index = level + 1, index >> 1
            new[Node(level, index)] = hashed
    return new


def root(size: int, fetch: Fetch) -> bytes:
    """Return the root of the first ``size`` leaves."""
    nodes = complete((0, size))
    return _folded([fetch(nodes)[node] for node in nodes]) if nodes else EMPTY


def inclusion_proof(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Return the proof that a leaf is one of the first ``size`` (section 2.1.3.1).

    Args:
        index: of the leaf.
        size: of the tree.
        fetch: reads subtrees.

    Returns:
        Hashes, those next to the leaf first.

    Raises:
        LedgerError: if the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise LedgerError(f"there is no entry {index:,} in a ledger of {size:,}")
    ranges, leaves = [], (0, size)
    while leaves[1] - leaves[0] > 1:
        left, right = _halves(leaves)
        leaves, other = (left, right) if index < left[1] else (right, left)
        ranges.append(other)
    return _hashed(ranges[::-1], fetch)


def consistency_proof(earlier: int, size: int, fetch: Fetch) -> list[bytes]:
    """Return the proof that the first ``earlier`` of ``size`` leaves are an earlier tree's (section 2.1.4.1).

    Args:
        earlier: size of the earlier tree.
        size: of the tree.
        fetch: reads subtrees.

    Returns:
        Hashes; none where the sizes are equal, or the earlier tree is empty.

    Raises:
        LedgerError: if the tree is smaller than the earlier one.
    """
    if not 0 <= earlier <= size:
        raise LedgerError(f"a ledger of {size:,} entries was never one of {earlier:,}")
    if earlier in (0, size):
        return []
    ranges, leaves, whole = [], (0, size), True  # whole: the earlier root is that of these leaves, and is known
    while leaves[1] != earlier:
        left, right = _halves(leaves)
        if earlier <= left[1]:
            leaves, other = left, right
        else:
            leaves, other, whole = right, left, False
        ranges.append(other)
    if not whole:
        ranges.append(leaves)
    return _hashed(ranges[::-1], fetch)


def root_of_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to (section 2.1.3.2); None where it has not the right length.

    Args:
        index: of the leaf.
        size: of the tree.
        leaf: hash of the leaf.
        proof: as ``inclusion_proof`` gives it.
    """
    if not 0 <= index < size:
        return None
    node, last, hashed = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            hashed = inner_hash(other, hashed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = inner_hash(hashed, other)
        node, last = node >> 1, last >> 1
    return hashed if last == 0 else None


def is_consistent(earlier: int, earlier_root: bytes, size: int, later_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether a proof shows that one tree is the beginning of another (section 2.1.4.2).

    Args:
        earlier: size of the earlier tree.
        earlier_root: its root.
        size: of the later tree.
        later_root: its root.
        proof: as ``consistency_proof`` gives it.
    """
    if not 0 <= earlier <= size:
        return False
    if earlier in (0, size):
        same = earlier_root == (EMPTY if earlier == 0 else later_root)
        return same and not proof
    path = list(proof)
    if earlier & (earlier - 1) == 0:  # the earlier tree is complete: its root begins the proof
        path.insert(0, earlier_root)
    if not path:
        return False
    node, last = earlier - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            before, after = inner_hash(other, before), inner_hash(other, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = inner_hash(after, other)
        node, last = node >> 1, last >> 1
    return last == 0 and before == earlier_root and after == later_root


def _halves(leaves: Range) -> tuple[Range, Range]:
    """Return both children of a range: the left one has as many leaves as the largest power of two below its size."""
    start, end = leaves
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    return (start, middle), (middle, end)


def _hashed(ranges: Sequence[Range], fetch: Fetch) -> list[bytes]:
    nodes = [complete(leaves) for leaves in ranges]
    hashes = fetch(node for own in nodes for node in own)
    return [_folded([hashes[node] for node in own]) for own in nodes]


def _folded(hashes: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees of falling size, of which at least one is given."""
    *others, hashed = hashes
    for left in reversed(others):
        hashed = inner_hash(left, hashed)
    return hashed
