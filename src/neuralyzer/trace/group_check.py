"""The self-check (negative control) of requests of many subjects: false alarms on groups of holdout rows.

Half of the holdout is cut into groups of the request's size, each tested as if it were the request. The other half
stays holdout, for the null as well. Each member in turn is the model under test, and all others are the members that
never saw the rows. A row's gap is predicted from training rows with the same never-seen mean.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from neuralyzer.references.signal_values import Floats, SplitValues
from neuralyzer.trace.estimator import null_tables
from neuralyzer.trace.group import FOLDS, GroupTable, draws, group_table, spread
from neuralyzer.trace.prediction import leave_one_out_shifts
from neuralyzer.trace.self_check import SelfCheck, alarm_quantile


@lru_cache(maxsize=8)
def _without_rows(split: SplitValues, test_rows: tuple[int, ...]) -> SplitValues:
    """Return the split without some holdout rows; signals whose subjects do not share one holdout are left out."""
    shared = {name: values for name, values in split.signals.items() if values.units is None}
    kept = np.delete(np.arange(next(iter(shared.values())).holdout.shape[1]), list(test_rows))
    return replace(split, signals={name: values.on_holdout(kept) for name, values in shared.items()})


def _scores_on(table: GroupTable, phi: Floats, sizes: Sequence[int]) -> Floats:
    """Return each member's score on each group of holdout rows, in units of its noise, ``(M, groups)``.

    Args:
        table: one signal, made without these rows.
        phi: the members' signal values on the rows of all groups, ``(M, n)``.
        sizes: rows of each group.

    Returns:
        The scores.
    """
    mean, spread = phi.mean(0), np.maximum(phi.std(0, ddof=1), table.table.spread_floor)
    shifts = leave_one_out_shifts(table.readings.holdout)
    cleared = phi - np.stack([shift.on(mean, spread) for shift in shifts])
    slope, intercept = table.gap_line
    fold = np.arange(len(phi)) % FOLDS
    sums = np.stack([cleared[fold == number].sum(0) for number in range(FOLDS)])
    counts = np.bincount(fold, minlength=FOLDS).astype(float)[:, None]
    ends = np.cumsum(sizes)[:-1]
    scores = []
    for member, values in enumerate(cleared):
        total, count = sums.copy(), counts.copy()
        total[fold[member]] -= values
        count[fold[member]] -= 1
        others = (total.sum(0) - total) / (count.sum() - count)
        spread = np.maximum(np.delete(phi, member, 0).std(0, ddof=1), table.table.spread_floor)
        gap = np.maximum(intercept * spread + slope * others, table.table.gap_floor)
        weight = gap / np.square(spread)
        score = (weight * (values - total / count)).sum(0)
        noise = np.square(weight.sum(0) * shifts[member].noise)
        variance = np.square(spread) * (noise + (np.square(weight) / count).sum(0))
        by_group = (np.split(terms, ends) for terms in (score, variance))
        scores.append([s.sum() / np.sqrt(v.sum()) for s, v in zip(*by_group, strict=True)])
    return np.array(scores)


@lru_cache(maxsize=16)
def group_self_check(
    split: SplitValues,
    alpha: float,
    signals: tuple[str, ...],
    subjects: tuple[int, ...],
    rows: int,
    test_rows: tuple[int, ...],
    widening: float,
) -> SelfCheck:
    """Run the self-check for requests of a given number of rows; it reads none of the request's own.

    Args:
        split: the references.
        alpha: error rate of the joint test.
        signals: which take part; all must share one holdout.
        subjects: from which the groups of the null are drawn.
        rows: number of rows of the request.
        test_rows: holdout rows that are tested as if they were the request.
        widening: factor on the critical value, because the spread is estimated from few members.

    Returns:
        Alarms and tests, one for each member and group.
    """
    without = _without_rows(split, test_rows)
    tables = null_tables(without, alpha)
    never, seen = (draws(without, subjects, rows, saw) for saw in (False, True))
    sizes = [len(group) for group in np.array_split(np.arange(len(test_rows)), max(1, len(test_rows) // rows))]
    null_z, test_z = [], []  # all signals weigh alike
    for name in signals:
        table = group_table(without, tables[name])
        scale = spread(table, never, seen)
        null_z.append(np.abs(scale.null) / scale.sd)
        phi = split.signals[name].holdout[:, list(test_rows)]
        test_z.append(np.abs(_scores_on(table, phi, sizes)) / scale.sd)
    null, tested = np.max(null_z, axis=0), np.max(test_z, axis=0)
    critical = float(np.quantile(null, 1 - alpha)) * widening
    shares = [float((null[never.member == m] > critical).mean()) for m in np.unique(never.member)]
    limit = alarm_quantile(shares, len(shares), tested.size, alpha)
    return SelfCheck(int((tested > critical).sum()), tested.size, limit)
