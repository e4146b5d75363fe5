"""Whether the rows of a request resemble each other: then members that lack a few of them know them from the rest.

Members without A still hold B and C. If these resemble A's rows, such members know A's rows better than a model that
lacks all three would, and the null says nothing of such a model. Rows resemble each other where members read them
alike: where one reads a row higher than its kind does, it reads the other higher too. So each row is a point with a
coordinate a member, and its nearest neighbours among other subjects' rows tell. Where the request holds far more of
them than of all rows, its subjects stand in for each other.
"""

from collections.abc import Sequence

import numpy as np

from neuralyzer.references.signal_values import Floats, Part, SplitValues

NEIGHBOURS = 10
MOST_ROWS = 1000  # of a request that are looked at, drawn: their share is then known to .02
MOST_SHARE = 0.1  # of the neighbours, beyond the request's share of all rows (decision 31)
CHUNK = 200  # rows whose distances to all others are held at once
ALIKE = "the requested subjects stand in for each other: {share:.0f} % of their rows' nearest neighbours are theirs too"


def obstacle(split: SplitValues, signal: str, parts: Sequence[Part]) -> str | None:
    """Why the pool cannot answer a request of several subjects; None where it can.

    Args:
        split: readings of the tuning split.
        signal: one that reads rows one by one.
        parts: what the request asks for, by subject.

    Returns:
        A sentence, or None.
    """
    if len(parts) < 2:
        return None
    share, expected = neighbours_inside(split, signal, parts)
    return ALIKE.format(share=100 * share) if share - expected > MOST_SHARE else None


def neighbours_inside(split: SplitValues, signal: str, parts: Sequence[Part]) -> tuple[float, float]:
    """How many of the nearest neighbours of a request's rows, among other subjects' rows, are in the request.

    Args:
        split: readings and who held what.
        signal: one that reads rows one by one.
        parts: of the request.

    Returns:
        Their share, and the share that rows drawn at random would have.
    """
    points = deviations(split, signal)
    count = points.shape[1]
    subject = np.full(count, -1)  # part of each requested row
    for place, part in enumerate(parts):
        subject[part.rows] = place
    inside = np.flatnonzero(subject >= 0)
    drawn = inside
    if len(inside) > MOST_ROWS:
        drawn = np.sort(np.random.default_rng(0).choice(inside, MOST_ROWS, replace=False))
    squares = np.square(points).sum(0)
    found, expected = [], []
    for start in range(0, len(drawn), CHUNK):
        rows = drawn[start : start + CHUNK]
        apart = squares - 2 * points[:, rows].T @ points
        for line, row in zip(apart, rows, strict=True):
            own = parts[subject[row]].rows
            line[own] = np.inf
            near = np.argpartition(line, NEIGHBOURS)[:NEIGHBOURS]
            found.append(np.mean(subject[near] >= 0))
            expected.append((len(inside) - len(own)) / (count - len(own)))
    return float(np.mean(found)), float(np.mean(expected))


def deviations(split: SplitValues, signal: str) -> Floats:
    """How far each member reads each row from what its kind reads, in spreads, ``(M, N)``; kinds: held it, or not."""
    phi, held = split.signals[signal].rows, split.rows_held_by
    apart = np.zeros_like(phi)
    for kind in (held, ~held):
        count = np.maximum(kind.sum(0), 1)
        mean = np.where(kind, phi, 0.0).sum(0) / count
        apart += np.where(kind, phi - mean, 0.0)
    spread = apart.std(0)
    return apart / np.where(spread > 0, spread, 1.0)
