"""The trace of rows that a claimant brings: no register holds them, so every member is one that never saw them.

Nobody knows what having seen these very rows would do to a signal. The gap is predicted by the line through the
training rows' gaps (``gap_line``); prediction, score and null are those of a request, over all members. The test is
one-sided: a model that knows the rows less than a stranger was not trained on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.references.readings import Floats
from neuralyzer.trace.estimate import SMALLEST_UNIT, Gap
from neuralyzer.trace.gap_line import GapLine, gap_in_spreads, gap_line
from neuralyzer.trace.joint import Joint
from neuralyzer.trace.prediction import Shift
from neuralyzer.trace.residual import FOUND, Trace
from neuralyzer.trace.table import Null, Table


@dataclass(frozen=True)
class Claimed:
    """One signal, read on ``n`` rows of a claimant.

    Attributes:
        members: by all members of the half, ``(M, n)``.
        model: by the model under test, ``(n,)``.
        holdout: by the model under test, on the pool's holdout, ``(H,)``.
    """

    members: Floats
    model: Floats
    holdout: Floats


@dataclass(frozen=True)
class Sight:
    """What training subjects tell of one that was seen, where none of the claimed rows was.

    Attributes:
        line: predicts the gap.
        misfit: variance, over training subjects, of ``sum d_i e_i / |d|`` with ``e_i`` the gap's distance from the
            line in spreads: how far a seen subject's score may lie from the predicted one.
        widening: how much wider scores scatter among members that saw a subject than among those that did not.
    """

    line: GapLine
    misfit: float
    widening: float


@lru_cache(maxsize=16)
def sight(table: Table) -> Sight:
    """Fit the line and what it leaves over; once a table."""
    line = gap_line(table)
    nulls = list(table.nulls.values())
    widening = np.exp(np.mean([np.log(null.seen_variance / np.var(null.scores, ddof=1)) for null in nulls]))
    return Sight(line, float(np.mean([_misfit(null, line, table.gap_floor) for null in nulls])), float(widening))


def _misfit(null: Null, line: GapLine, floor: float) -> float:
    spread = null.moments.spread
    d = np.maximum(line.on(null.moments.never, spread), floor) / spread
    return float((d @ (gap_in_spreads(null) - d)) ** 2 / (d @ d))


@dataclass(frozen=True)
class _Stranger:
    """Members that never saw the rows: ``mean (n,)`` and ``spread (n,)`` over them, and the predicted gap."""

    mean: Floats
    spread: Floats
    gap: Gap
    bias: float

    def score(self, reading: Floats, shift: Shift) -> float:
        """``q`` of a reading ``(n,)``."""
        excess = reading - self.mean - shift.on(self.mean, self.spread)
        return (float(self.gap.weights @ excess) - self.bias) / (shift.noise * self.gap.norm)


def _stranger(members: Floats, table: Table, line: GapLine) -> _Stranger:
    """Moments of the members and the gap predicted from them.

    The gap is not estimated from those who saw the rows, so their number appears nowhere. It hangs on the never-seen
    mean by the line's slope alone: the error of that mean, in gap and excess both, adds ``-slope R / M`` to the score's
    numerator (where a request has ``R / n_never``) and ``slope^2 R / M`` to the unit.

    Returns:
        What a model is scored against.
    """
    mean, spread = members.mean(0), np.maximum(members.std(0, ddof=1), table.spread_floor)
    delta = line.on(mean, spread)
    d = np.maximum(delta, table.gap_floor) / spread
    above, squared = int((delta > table.gap_floor).sum()), float(d @ d)
    unit = float(d @ (delta / spread)) - line.slope**2 * above / len(members)
    found = Gap(d / spread, float(np.sqrt(squared)), above, max(unit, SMALLEST_UNIT * squared))
    return _Stranger(mean, spread, found, -line.slope * above / len(members))


def claim_scores(table: Table, claimed: Claimed) -> Floats:
    """The null: each member's score, everything recomputed without it, ``(M,)``."""
    line, holdout, outside = sight(table).line, table.holdout_all, table.readings.holdout
    scores = np.empty(len(claimed.members))
    for member, reading in enumerate(claimed.members):
        others = np.delete(claimed.members, member, axis=0)
        shift = holdout.shift(outside[member], np.delete(outside, member, axis=0).mean(0))
        scores[member] = _stranger(others, table, line).score(reading, shift)
    return scores


def claim_trace(table: Table, claimed: Claimed, found: float = FOUND) -> Trace:
    """Read a model on a claimant's rows.

    The null scores' mean is nearly 0 by construction (each member is held against all others), so nothing is
    centred; their variance has ``M - 1`` degrees of freedom and needs no prior. Critical values are those of the
    training subjects of the same half, whose z have heavier tails: claims then alarm less often, not more.

    Args:
        table: one signal on one half, all of whose members never saw the rows.
        claimed: the readings.
        found: normal quantile of the power that the detectable trace speaks of.

    Returns:
        The trace; ``p_value`` and ``detectable`` are one-sided, the interval two-sided.
    """
    seen = sight(table)
    stranger, sd = _stranger(claimed.members, table, seen.line), float(claim_scores(table, claimed).std(ddof=1))
    shift = table.holdout_all.shift(claimed.holdout, table.holdout_all.mean)
    unit = shift.noise * stranger.gap.norm / stranger.gap.unit  # of a score, in traces
    trace, se = stranger.score(claimed.model, shift) * unit, float(np.hypot(sd * unit, table.half.share / 2))
    z, signed = trace / se, signed_null([table])
    reach = table.critical * se
    scatter = np.sqrt(seen.widening * sd**2 + seen.misfit / shift.noise**2) * unit
    detectable = float(np.quantile(signed, 1 - table.level)) * se + found * float(scatter)
    return Trace(trace, trace - reach, trace + reach, se, z, p_above(signed, z), detectable)


def signed_null(tables: Sequence[Table]) -> Floats:
    """Largest null z over the tables of each (member, training subject) pair that has all of them."""
    shared = sorted(set.intersection(*(set(table.nulls) for table in tables)))
    stacked = [np.concatenate([table.subject_z[subject] for subject in shared]) for table in tables]
    return np.asarray(np.max(stacked, axis=0))


def p_above(null: Floats, z: float) -> float:
    """Share of the null at least as large as ``z``, itself included."""
    return (1 + int((null >= z).sum())) / (1 + len(null))


def claim_test(tables: Mapping[str, Table], z: Mapping[str, float], signals: Sequence[str], alpha: float) -> Joint:
    """The largest z over signals, against the same maximum over never-seen members and training subjects.

    The ``M`` members give too few pairs with one claim for a 5 % test; the training subjects' pairs have the same
    dependence between signals.

    Args:
        tables: null distributions by signal, of one half.
        z: the model's z by signal.
        signals: which take part.
        alpha: error rate, one-sided.

    Returns:
        The test.
    """
    null = signed_null([tables[signal] for signal in signals])
    statistic = max(z[signal] for signal in signals)
    p = p_above(null, statistic)
    return Joint(tuple(signals), statistic, float(np.quantile(null, 1 - alpha)), p, p <= alpha)
