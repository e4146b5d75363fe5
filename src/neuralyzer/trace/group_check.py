"""The self-check of requests of many subjects: groups of holdout rows, which nobody saw, must not alarm.

Half of the holdout, cut into groups of the request's size, plays the request; the other half stays holdout, for the
null as well. Each member plays the model under test and all others play those that never saw the rows. Rows weigh as
training rows of such a mean do.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from neuralyzer.references.signal_values import Floats, SplitValues
from neuralyzer.trace.estimator import tables
from neuralyzer.trace.group import FOLDS, GroupTable, draws, group_table, spread
from neuralyzer.trace.prediction import shifts_apart
from neuralyzer.trace.self_check import SelfCheck, most


@lru_cache(maxsize=8)
def without_rows(split: SplitValues, played: tuple[int, ...]) -> SplitValues:
    """The split without some rows of a holdout that all subjects share; signals that have others are left out."""
    shared = {name: read for name, read in split.signals.items() if read.units is None}
    kept = np.delete(np.arange(next(iter(shared.values())).holdout.shape[1]), list(played))
    return replace(split, signals={name: read.on_holdout(kept) for name, read in shared.items()})


def scores_on(table: GroupTable, phi: Floats, sizes: Sequence[int]) -> Floats:
    """Each member's score on each group of holdout rows, in units of its noise, ``(M, groups)``.

    Args:
        table: one signal, made without these rows.
        phi: the members' readings on the rows of all groups, ``(M, n)``.
        sizes: of the groups.

    Returns:
        The scores.
    """
    mean, spread = phi.mean(0), np.maximum(phi.std(0, ddof=1), table.table.spread_floor)
    shifts = shifts_apart(table.readings.holdout)
    tilde = phi - np.stack([shift.on(mean, spread) for shift in shifts])
    slope, intercept = table.gap_line
    fold = np.arange(len(phi)) % FOLDS
    sums = np.stack([tilde[fold == own].sum(0) for own in range(FOLDS)])
    counts = np.bincount(fold, minlength=FOLDS).astype(float)[:, None]
    ends = np.cumsum(sizes)[:-1]
    found = []
    for member, own in enumerate(tilde):
        total, count = sums.copy(), counts.copy()
        total[fold[member]] -= own
        count[fold[member]] -= 1
        others = (total.sum(0) - total) / (count.sum() - count)
        apart = np.delete(phi, member, 0).std(0, ddof=1)
        spread = np.maximum(apart, table.table.spread_floor)
        gap = np.maximum(intercept * spread + slope * others, table.table.gap_floor)
        weight = gap / np.square(spread)
        score = (weight * (own - total / count)).sum(0)
        noise = np.square(weight.sum(0) * shifts[member].noise)
        variance = np.square(spread) * (noise + (np.square(weight) / count).sum(0))
        by_group = (np.split(values, ends) for values in (score, variance))
        found.append([s.sum() / np.sqrt(v.sum()) for s, v in zip(*by_group, strict=True)])
    return np.array(found)


@lru_cache(maxsize=16)
def group_self_check(
    split: SplitValues,
    alpha: float,
    signals: tuple[str, ...],
    subjects: tuple[int, ...],
    rows: int,
    played: tuple[int, ...],
    widening: float,
) -> SelfCheck:
    """The self-check of all requests of so many rows, none of which it reads.

    Args:
        split: the references.
        alpha: error rate of the joint test.
        signals: which take part; they share a holdout.
        subjects: that groups of the null are made of.
        rows: of the request.
        played: holdout rows that play it.
        widening: how much wider an interval is for a spread that comes from few members.

    Returns:
        Alarms and tests, one for each member and group.
    """
    without = without_rows(split, played)
    made = tables(without, alpha)
    null, seen = (draws(without, subjects, rows, saw) for saw in (False, True))
    sizes = [len(own) for own in np.array_split(np.arange(len(played)), max(1, len(played) // rows))]
    scored, found = [], []  # in the unit of their nulls, in which all signals weigh alike
    for name in signals:
        table = group_table(without, made[name])
        scale = spread(table, null, seen)
        scored.append(np.abs(scale.null) / scale.sd)
        phi = split.signals[name].holdout[:, list(played)]
        found.append(np.abs(scores_on(table, phi, sizes)) / scale.sd)
    every, alarm = np.max(scored, axis=0), np.max(found, axis=0)
    critical = float(np.quantile(every, 1 - alpha)) * widening
    shares = [float((every[null.member == m] > critical).mean()) for m in np.unique(null.member)]
    return SelfCheck(int((alarm > critical).sum()), alarm.size, most(shares, len(shares), alarm.size, alpha))
