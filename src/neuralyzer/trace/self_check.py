"""The self-check: how often the test alarms on rows that nobody saw, where the truth is known.

Half of the holdout, cut into groups of the median subject's size, plays subjects; the other half stays holdout.
Some members play those that never saw a group. The rest get the gap that training rows of such a mean show, and the
spread of members on rows that they held, since the null's scale is predicted from that spread. It cannot see failures of siblings or of big subjects, so it is no
proof of calibration. It fails where more alarms come than 99 of 100 right pools would raise: their number is a sum over
the groups, each drawn as a real subject's null has them, or over the members, each drawn as a member has them on the
subjects that it never saw, whichever is larger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from neuralyzer.references.signal_values import Flags, Floats, Indices, Part, Readings, SplitValues
from neuralyzer.trace.joint import joint_nulls, shared
from neuralyzer.trace.null_table import FEWEST_NEVER, Table

QUANTILE = 0.99  # of right pools pass


@dataclass(frozen=True)
class SelfCheck:
    """``alarms`` of ``groups`` tested (one for each member and group) were false; a right pool has ``limit`` at most."""

    alarms: int
    groups: int
    limit: int | None = None

    @property
    def passed(self) -> bool:
        """Whether no more alarms came than a right pool raises."""
        return self.limit is None or self.alarms <= self.limit


def holdout_groups(count: int, size: int, seed: int) -> list[Indices]:
    """Half of ``count`` holdout rows in groups of ``size``, drawn by ``seed`` when references are made."""
    order = np.random.default_rng(seed).permutation(count)[: count // 2]
    return [np.sort(order[start : start + size]) for start in range(0, len(order) - size + 1, size)]


def self_check(
    tables: Mapping[str, Table], signals: Sequence[str], groups: Sequence[Indices], alpha: float
) -> SelfCheck:
    """Count false alarms.

    Args:
        tables: null distributions by signal, of the evaluation split.
        signals: which take part; those with a holdout of their own for each subject cannot and are left out.
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
    found = [_scores(tables[signal], groups) for signal in usable]
    z, fine = np.stack([scores for scores, _ in found]), np.stack([sensitivity for _, sensitivity in found])
    weighted = np.abs(z) * fine / fine.max(0)
    alarms, tests = int((weighted.max(0) > critical).sum()), z.shape[1]
    by_subject = [float((own > critical).mean()) for own in nulls]
    by_member = _by_member(tables, usable, [own > critical for own in nulls])
    limit = max(most(by_subject, len(groups), tests, alpha), most(by_member, tests // len(groups), tests, alpha))
    return SelfCheck(alarms, tests, limit)


def _by_member(tables: Mapping[str, Table], signals: Sequence[str], alarms: Sequence[Flags]) -> list[float]:
    """How many of the subjects that it never saw each member alarms on; an odd one alarms on many, and on groups too."""
    order = shared([tables[signal] for signal in signals])
    table = tables[signals[0]]
    found, asked = np.zeros(table.values.members), np.zeros(table.values.members)
    for subject, own in zip(order, alarms, strict=True):
        members = table.everyone[subject].members.astype(int)
        if len(members):  # of an erased subject nobody knows any more which they were
            found[members] += own
            asked[members] += 1
    return list(found[asked > 0] / asked[asked > 0])


def most(shares: Sequence[float], blocks: int, tests: int, alpha: float) -> int:
    """The 99 % quantile of how many false alarms a right pool raises.

    Args:
        shares: how many of the tests that go together alarm where the truth is known, such as the members that never
            saw a real subject.
        blocks: of tests that go together.
        tests: how many there are in all blocks.
        alpha: error rate of one.

    Returns:
        The quantile of a sum of one draw a block; at least that of independent tests.
    """
    own = np.bincount([round(share * tests / blocks) for share in shares]) / len(shares)
    total = np.ones(1)
    for _ in range(blocks):
        total = np.convolve(total, own)
    return max(int(np.searchsorted(np.cumsum(total), QUANTILE)), binomial_quantile(tests, alpha))


def binomial_quantile(tests: int, alpha: float) -> int:
    """The 99 % quantile of the number of alarms in independent tests."""
    return int(np.searchsorted(bdtr(np.arange(tests + 1.0), tests, alpha), QUANTILE))


def _scores(table: Table, groups: Sequence[Indices]) -> tuple[Floats, Floats]:
    """z of each member on each group, and how finely the signal sees that group, ``(members tested * groups,)``."""
    phi = table.readings.holdout
    members = len(phi)
    outside = np.setdiff1d(np.arange(phi.shape[1]), np.concatenate(list(groups)))
    a, b = _gap_line(table)
    wider = _wider(table)
    found, fine = [], []
    for start in range(0, members - FEWEST_NEVER + 1, FEWEST_NEVER):
        keep = np.ones((members, len(groups)), dtype=bool)
        keep[start : start + FEWEST_NEVER] = False
        lifted = phi.copy()
        for group in groups:
            never = phi[~keep[:, 0]][:, group]
            spread = np.maximum(phi[:, group].std(0, ddof=1), table.spread_floor)
            mean = phi[:, group].mean(0)
            apart = wider * (phi[np.ix_(keep[:, 0], group)] - mean)
            lifted[np.ix_(keep[:, 0], group)] = mean + apart + a * spread + b * never.mean(0)
        split = SplitValues(keep, list(groups), {"own": Readings(lifted, phi[:, outside])}, share=table.values.share)
        played = Table(split, "own", table.level)
        played.spread_floor, played.gap_floor = table.spread_floor, table.gap_floor
        for index, group in enumerate(groups):
            null = played.null(Part(index, group))
            for place in range(len(null.scores)):
                others = np.delete(null.scores, place)
                variance = table.prior.shrink(
                    float(np.var(others, ddof=1)), len(others) - 1, np.array(null.seen_variance)
                )
                found.append((null.scores[place] - table.centre) / np.sqrt(variance))
                fine.append(table.sensitivity_of([null]))
    return np.array(found), np.array(fine)


def _wider(table: Table) -> float:
    """How much farther apart members read rows that they held than rows that they never saw: the median ratio."""
    phi, held, never = table.readings.rows, table.values.rows_held_by, table.values.rows_asked_of
    with np.errstate(invalid="ignore", divide="ignore"):
        seen, unseen = (np.nanstd(np.where(kind, phi, np.nan), 0, ddof=1) for kind in (held, never))
        ratio = seen / unseen
    return float(np.median(ratio[np.isfinite(ratio)]))


def _gap_line(table: Table) -> tuple[float, float]:
    """Least squares of training rows' gaps on ``(1, mu / sigma)``, both in spreads."""
    nulls = list(table.nulls.values())
    x = np.concatenate([null.moments.never / null.moments.spread for null in nulls])
    y = np.concatenate([(null.moments.seen - null.moments.never) / null.moments.spread for null in nulls])
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)
