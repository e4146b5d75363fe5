"""Near copies: rows of tokens that say nearly the same, found by MinHash and confirmed by all their shingles.

Compared is what a model learns of a row: its target tokens, or all tokens where it has no mask of targets. So a prompt
that many rows share makes no copies. Where the targets are few, such as "Yes", the whole rows must be alike as well.

Broder 1997, "On the resemblance and containment of documents"; Lee et al. 2022, arXiv 2107.06499, for training rows.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import NeuralyzerWarning

WINDOW = 3  # tokens of a shingle
# Jaccard similarity of near copies: rows that share half of all their shingles. On the 35 authors of TOFU answers by
# different authors reach .45 at most; of answers with one word in ten replaced 95 % reach .5.
SIMILAR = 0.5
FEW = 10  # target tokens; rows with fewer are compared whole as well
# Rows that are alike by SIMILAR share a band of their signatures in all but (1 - .5 ** 3) ** 42 = .4 % of cases.
BANDS, DEPTH = 42, 3
MISSING = "near copies are not searched for: they need pip install 'neuralyzer-unlearning[language]'"
_BASE = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial over a shingle's tokens, modulo 2 ** 64; odd, chosen


@dataclass(frozen=True)
class Pair:
    """Two rows that say nearly the same.

    Attributes:
        one: position in the first data.
        other: position in the second.
        similarity: Jaccard similarity of their shingles, ``SIMILAR`` to 1; the smaller, where whole rows count too.
    """

    one: int
    other: int
    similarity: float


@dataclass(frozen=True)
class _Row:
    """The shingles of a row, sorted and distinct: of its target tokens, and of all of them."""

    learned: np.ndarray
    whole: np.ndarray
    few: bool

    def similarity(self, other: "_Row") -> float:
        of_targets = jaccard(self.learned, other.learned)
        return min(of_targets, jaccard(self.whole, other.whole)) if self.few or other.few else of_targets


def searchable(data: Data) -> bool:
    """Return whether near copies of rows can be found: rows of tokens, and ``datasketch`` is installed.

    Warns:
        NeuralyzerWarning: if it is not installed, and rows are of tokens.
    """
    x, _ = data.gather([0])
    if not isinstance(x, dict) or batches.MASK not in x:
        return False
    if find_spec("datasketch") is None:
        warnings.warn(MISSING, NeuralyzerWarning, stacklevel=2)
        return False
    return True


def pairs(one: Data, other: Data) -> list[Pair]:
    """Return the near copies between two data, both ``searchable``.

    Args:
        one: rows whose shingles are kept in memory; the smaller of the two.
        other: rows that are read in batches; may have the same rows.

    Returns:
        The pairs, by position in ``other``, then in ``one``. The same data always give the same pairs.
    """
    from datasketch import MinHashLSH

    rows = [row for x, _ in one.chunks() for row in _rows(x)]
    index = MinHashLSH(num_perm=BANDS * DEPTH, params=(BANDS, DEPTH))
    for place, signature in enumerate(_signatures([row.learned for row in rows])):
        index.insert(place, signature)
    known = _distinct(np.concatenate([row.learned for row in rows]))
    found, start = [], 0
    for x, y in other.chunks():
        read = list(_rows(x))
        likely = np.flatnonzero(_shares([row.learned for row in read], known) >= SIMILAR).tolist()
        for place, signature in zip(likely, _signatures([read[place].learned for place in likely]), strict=True):
            candidates = ((own, rows[own].similarity(read[place])) for own in sorted(index.query(signature)))
            found += [Pair(own, start + place, alike) for own, alike in candidates if alike >= SIMILAR]
        start += len(y)
    return found


def best(one: Data, other: Data) -> list[Pair]:
    """Return ``pairs`` with only the most similar row of ``one`` for each of ``other``."""
    closest: dict[int, Pair] = {}
    for pair in pairs(one, other):
        if pair.other not in closest or pair.similarity > closest[pair.other].similarity:
            closest[pair.other] = pair
    return list(closest.values())


def others(data: Data, positions: np.ndarray) -> list[Pair]:
    """Return the rows of ``data`` outside some positions that nearly copy a row there; ``one`` is among the positions."""
    chosen = set(positions.tolist())
    found = best(data.select(positions), data)
    return [Pair(int(positions[pair.one]), pair.other, pair.similarity) for pair in found if pair.other not in chosen]


def _rows(x: Inputs) -> Iterator[_Row]:
    assert isinstance(x, dict)
    ids, mask = x[batches.IDS].numpy(), x[batches.MASK].numpy().astype(bool)
    targets = x[batches.TARGETS].numpy().astype(bool) & mask if batches.TARGETS in x else mask
    for row in range(len(ids)):
        learned = ids[row, targets[row]]
        yield _Row(shingles(learned), shingles(ids[row, mask[row]]), len(learned) < FEW)


def shingles(tokens: np.ndarray) -> np.ndarray:
    """Return 64-bit digests of all windows of ``WINDOW`` tokens, sorted and distinct; a shorter text is one window."""
    numbers = tokens.astype(np.uint64) + np.uint64(1)  # 0 fills up a window that is too short
    numbers = np.pad(numbers, (0, max(0, WINDOW - len(numbers))))
    windows = np.lib.stride_tricks.sliding_window_view(numbers, WINDOW)
    digests = np.zeros(len(windows), np.uint64)
    for column in windows.T:
        digests = digests * _BASE + column
    return _distinct(digests)


def _distinct(digests: np.ndarray) -> np.ndarray:
    """Return what ``np.unique`` returns; its own way takes ten times as long for few numbers."""
    ordered = np.sort(digests)
    first = np.append(True, ordered[1:] != ordered[:-1])
    return np.asarray(ordered[first])


def _shares(sets: list[np.ndarray], known: np.ndarray) -> np.ndarray:
    """Return which share of each set is known, ``(n,)``; no known set is more similar to it than that."""
    sought = np.concatenate(sets)
    found = known[np.minimum(np.searchsorted(known, sought), len(known) - 1)] == sought
    starts = np.cumsum([0, *map(len, sets[:-1])])
    return np.asarray(np.add.reduceat(found, starts, dtype=np.int64) / np.array(list(map(len, sets))))


def _signatures(sets: list[np.ndarray]) -> Any:
    from datasketch import MinHash

    # The upper half of a digest depends on all of its tokens; MinHash takes 32 bits.
    return MinHash.bulk([(own >> np.uint64(32)).tolist() for own in sets], num_perm=BANDS * DEPTH, seed=1, hashfunc=int)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of two sorted sets' distinct members that are in both."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
