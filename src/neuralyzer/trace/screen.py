"""Whether the rows of a request resemble each other: then members that lack a few of them know them from the rest.

Members without subject A still hold B and C. If these resemble A's rows, such members know A's rows better than a model
that lacks all three, and the null does not hold for such a model. Two rows resemble each other if a member whose signal
value is high on the one is also high on the other. So each row is a point with one coordinate per member, and its
nearest neighbours among other subjects' rows are found. If the request holds far more of these neighbours than of all
rows, its subjects stand in for each other.
"""

from collections.abc import Sequence

import numpy as np

from neuralyzer.references.signal_values import Floats, Part, SplitValues

NEIGHBOURS = 10  # nearest neighbours of a row
MOST_ROWS = 1000  # rows of a request that are examined, drawn at random: the share then has an error of about .02
MOST_SHARE = 0.1  # of the neighbours, beyond the request's share of all rows (decision 31)
CHUNK = 200  # rows whose distances to all others are in memory at once
REFUSAL = (
    "the requested subjects stand in for each other: {share:.0f} % of their rows' nearest neighbours are theirs too"
)


def obstacle(split: SplitValues, signal: str, parts: Sequence[Part]) -> str | None:
    """Return why the pool cannot answer a request of several subjects; None where it can.

    Args:
        split: values of the tuning split.
        signal: one that reads rows one by one.
        parts: the request's rows by subject.

    Returns:
        A sentence, or None.
    """
    if len(parts) < 2:
        return None
    share, expected = neighbours_inside(split, signal, parts)
    return REFUSAL.format(share=100 * share) if share - expected > MOST_SHARE else None


def neighbours_inside(split: SplitValues, signal: str, parts: Sequence[Part]) -> tuple[float, float]:
    """Return which share of the nearest neighbours of a request's rows is in the request itself.

    Neighbours are searched among other subjects' rows.

    Args:
        split: signal values, and which member held which row.
        signal: one that reads rows one by one.
        parts: the request's rows by subject.

    Returns:
        The share, and the share that rows drawn at random would have.
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
    shares, expected = [], []
    for start in range(0, len(drawn), CHUNK):
        rows = drawn[start : start + CHUNK]
        apart = squares - 2 * points[:, rows].T @ points
        for line, row in zip(apart, rows, strict=True):
            same_subject = parts[subject[row]].rows
            line[same_subject] = np.inf
            near = np.argpartition(line, NEIGHBOURS)[:NEIGHBOURS]
            shares.append(np.mean(subject[near] >= 0))
            expected.append((len(inside) - len(same_subject)) / (count - len(same_subject)))
    return float(np.mean(shares)), float(np.mean(expected))


def deviations(split: SplitValues, signal: str) -> Floats:
    """Return each member's deviation on each row, in spreads, ``(M, N)``.

    The deviation is from the mean of the members that held the row, or of those that did not, as the member did.
    """
    phi, held = split.signals[signal].rows, split.rows_held_by
    apart = np.zeros_like(phi)
    for kind in (held, ~held):
        count = np.maximum(kind.sum(0), 1)
        mean = np.where(kind, phi, 0.0).sum(0) / count
        apart += np.where(kind, phi - mean, 0.0)
    spread = apart.std(0)
    return apart / np.where(spread > 0, spread, 1.0)
