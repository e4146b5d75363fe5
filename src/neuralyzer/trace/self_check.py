"""The self-check (negative control): how often the test alarms on rows that no model saw, where all alarms are false.

Half of the holdout is cut into groups of the median subject's size, which stand for subjects; the other half stays
holdout. Some members stand for those that never saw a group. The values of the rest are raised by the gap of training
rows with the same never-seen mean, and spread as members are on rows that they held, since the null's scale is
predicted from that spread.

The check fails if it raises more alarms than 99 of 100 correct pools would. That limit is a sum over groups, each drawn
from the alarms of real subjects' nulls, or over members, each drawn from a member's alarms on the subjects that it
never saw, whichever is larger. The check cannot detect errors that come from subjects that resemble each other or from
large subjects, so it does not prove calibration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from neuralyzer.references.signal_values import Flags, Floats, Indices, Part, SignalValues, SplitValues
from neuralyzer.trace.joint import joint_nulls, shared_subjects
from neuralyzer.trace.null_table import FEWEST_NEVER, NullTable

QUANTILE = 0.99  # of correct pools pass


@dataclass(frozen=True)
class SelfCheck:
    """The result of the self-check.

    Attributes:
        alarms: false alarms.
        groups: number of tests, one for each (member, group of holdout rows).
        limit: largest number of alarms that passes; None if nothing was tested.
    """

    alarms: int
    groups: int
    limit: int | None = None

    @property
    def passed(self) -> bool:
        """Return whether there were no more alarms than the limit."""
        return self.limit is None or self.alarms <= self.limit


def holdout_groups(count: int, size: int, seed: int) -> list[Indices]:
    """Draw half of ``count`` holdout rows by ``seed`` and cut them into groups of ``size``."""
    order = np.random.default_rng(seed).permutation(count)[: count // 2]
    return [np.sort(order[start : start + size]) for start in range(0, len(order) - size + 1, size)]


def self_check(
    tables: Mapping[str, NullTable], signals: Sequence[str], groups: Sequence[Indices], alpha: float
) -> SelfCheck:
    """Count false alarms.

    Args:
        tables: null tables by signal, of one split.
        signals: which take part; those whose subjects have holdouts of their own are left out.
        groups: positions of each group's rows in the holdout.
        alpha: error rate of the joint test.

    Returns:
        Alarms and tests.
    """
    usable = [signal for signal in signals if tables[signal].readings.units is None]
    if not usable or not groups:
        return SelfCheck(0, 0)
    nulls = joint_nulls(tables, usable, weighted=True)
    critical = float(np.quantile(np.concatenate(nulls), 1 - alpha))
    by_signal = [_scores(tables[signal], groups) for signal in usable]
    z, sensitivity = np.stack([scores for scores, _ in by_signal]), np.stack([values for _, values in by_signal])
    weighted = np.abs(z) * sensitivity / sensitivity.max(0)
    alarms, tests = int((weighted.max(0) > critical).sum()), z.shape[1]
    by_subject = [float((null > critical).mean()) for null in nulls]
    by_member = _alarm_shares_by_member(tables, usable, [null > critical for null in nulls])
    limit = max(
        alarm_quantile(by_subject, len(groups), tests, alpha),
        alarm_quantile(by_member, tests // len(groups), tests, alpha),
    )
    return SelfCheck(alarms, tests, limit)


def _alarm_shares_by_member(
    tables: Mapping[str, NullTable], signals: Sequence[str], alarms: Sequence[Flags]
) -> list[float]:
    """Return the share of the subjects that it never saw on which each member alarms.

    An outlier alarms on many subjects, and on groups of holdout rows too.
    """
    order = shared_subjects([tables[signal] for signal in signals])
    table = tables[signals[0]]
    alarmed, tested = np.zeros(table.values.members), np.zeros(table.values.members)
    for subject, by_member in zip(order, alarms, strict=True):
        members = table.all_nulls[subject].members.astype(int)
        if len(members):  # an erased subject's scores are kept without their members
            alarmed[members] += by_member
            tested[members] += 1
    return list(alarmed[tested > 0] / tested[tested > 0])


def alarm_quantile(shares: Sequence[float], blocks: int, tests: int, alpha: float) -> int:
    """Return the 99 % quantile of the number of false alarms that a correct pool raises.

    Args:
        shares: shares of false alarms in blocks of dependent tests, such as the tests of one real subject.
        blocks: number of blocks.
        tests: number of tests in all blocks.
        alpha: error rate of one test.

    Returns:
        The quantile of the sum of one draw from ``shares`` per block; at least that of independent tests.
    """
    per_block = np.bincount([round(share * tests / blocks) for share in shares]) / len(shares)
    total = np.ones(1)
    for _ in range(blocks):
        total = np.convolve(total, per_block)
    return max(int(np.searchsorted(np.cumsum(total), QUANTILE)), binomial_quantile(tests, alpha))


def binomial_quantile(tests: int, alpha: float) -> int:
    """Return the 99 % quantile of the number of alarms in independent tests."""
    return int(np.searchsorted(bdtr(np.arange(tests + 1.0), tests, alpha), QUANTILE))


def _scores(table: NullTable, groups: Sequence[Indices]) -> tuple[Floats, Floats]:
    """Return z of each member on each group, and the signal's sensitivity to it, ``(members tested * groups,)``."""
    phi = table.readings.holdout
    members = len(phi)
    holdout = np.setdiff1d(np.arange(phi.shape[1]), np.concatenate(list(groups)))
    a, b = _gap_line(table)
    spread_ratio = _spread_ratio(table)
    z, sensitivity = [], []
    for start in range(0, members - FEWEST_NEVER + 1, FEWEST_NEVER):
        keep = np.ones((members, len(groups)), dtype=bool)
        keep[start : start + FEWEST_NEVER] = False
        values = phi.copy()
        for group in groups:
            never = phi[~keep[:, 0]][:, group]
            spread = np.maximum(phi[:, group].std(0, ddof=1), table.spread_floor)
            mean = phi[:, group].mean(0)
            apart = spread_ratio * (phi[np.ix_(keep[:, 0], group)] - mean)
            values[np.ix_(keep[:, 0], group)] = mean + apart + a * spread + b * never.mean(0)
        split = SplitValues(
            keep, list(groups), {"own": SignalValues(values, phi[:, holdout])}, share=table.values.share
        )
        of_groups = NullTable(split, "own", table.level)
        of_groups.spread_floor, of_groups.gap_floor = table.spread_floor, table.gap_floor
        for index, group in enumerate(groups):
            null = of_groups.null(Part(index, group))
            for place in range(len(null.scores)):
                others = np.delete(null.scores, place)
                variance = table.prior.shrink(
                    float(np.var(others, ddof=1)), len(others) - 1, np.array(null.seen_variance)
                )
                z.append((null.scores[place] - table.centre) / np.sqrt(variance))
                sensitivity.append(table.sensitivity_of([null]))
    return np.array(z), np.array(sensitivity)


def _spread_ratio(table: NullTable) -> float:
    """Return the median ratio of the members' spread on rows that they held to that on rows they never saw."""
    phi, held, never = table.readings.rows, table.values.rows_held_by, table.values.comparable_members
    with np.errstate(invalid="ignore", divide="ignore"):
        seen, unseen = (np.nanstd(np.where(kind, phi, np.nan), 0, ddof=1) for kind in (held, never))
        ratio = seen / unseen
    return float(np.median(ratio[np.isfinite(ratio)]))


def _gap_line(table: NullTable) -> tuple[float, float]:
    """Return intercept and slope of the training rows' gaps on ``mu / sigma``, in spreads (least squares)."""
    nulls = list(table.nulls.values())
    x = np.concatenate([null.moments.never / null.moments.spread for null in nulls])
    y = np.concatenate([(null.moments.seen - null.moments.never) / null.moments.spread for null in nulls])
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)
