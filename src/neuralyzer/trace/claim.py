"""The trace of rows that a claimant brings: no register holds them, so every member is one that never saw them.

Nobody knows what having seen these very rows would do to a signal. The gap is predicted by the line through the
training rows' gaps (``gap_curve``); prediction, score and null are those of a request, over all members. Only an
excess alarms: a model that knows the rows less than a stranger was not trained on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.estimate import SMALLEST_UNIT, Gap
from neuralyzer.trace.gap_curve import GapCurve, gap_curve
from neuralyzer.trace.joint import Joint, joint_null, p_above
from neuralyzer.trace.null_table import Null, Table
from neuralyzer.trace.prediction import Shift
from neuralyzer.trace.residual import FOUND, Trace


@dataclass(frozen=True)
class Claimed:
    """One signal, read on ``n`` rows of a claimant.

    Attributes:
        members: by all members of the split, ``(M, n)``.
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
        curve: predicts the gap.
        share: true over predicted gap, as a score weighs rows; mean over training subjects.
        misfit: its variance, as a share of the mean squared.
        widening: how much wider scores scatter among members that saw a subject than among those that did not.
    """

    curve: GapCurve
    share: float
    misfit: float
    widening: float


@lru_cache(maxsize=16)
def sight(table: Table) -> Sight:
    """Fit the curve and what it leaves over; once a table."""
    curve = gap_curve(table)
    nulls = list(table.nulls.values())
    widening = np.exp(np.mean([np.log(null.seen_variance / np.var(null.scores, ddof=1)) for null in nulls]))
    shares = [_share(null, curve, table.gap_floor) for null in nulls]
    share = max(float(np.mean(shares)), SMALLEST_UNIT)
    misfit = float(np.var(shares, ddof=1)) / share**2 if len(shares) > 1 else 0.0
    return Sight(curve, share, misfit, float(widening))


def _share(null: Null, curve: GapCurve, floor: float) -> float:
    """A subject's true gap, as a share of the predicted one, as a score weighs rows."""
    moments = null.moments
    d = np.maximum(curve.on(moments.never), floor) / moments.spread
    return float(d @ ((moments.seen - moments.never) / moments.spread) / (d @ d))


@dataclass(frozen=True)
class _Stranger:
    """Members that never saw the rows: ``mean (n,)`` and ``spread (n,)`` over them, and the predicted gap."""

    mean: Floats
    spread: Floats
    gap: Gap

    def score(self, reading: Floats, shift: Shift) -> float:
        """``q`` of a reading ``(n,)``."""
        excess = reading - self.mean - shift.on(self.mean, self.spread)
        return float((self.gap.weights @ excess) / (shift.noise * self.gap.norm))


def _stranger(members: Floats, table: Table, curve: GapCurve) -> _Stranger:
    """Moments of the members, and the gap predicted from them: nothing in it is estimated from who saw the rows."""
    mean, spread = members.mean(0), np.maximum(members.std(0, ddof=1), table.spread_floor)
    delta = curve.on(mean)
    d = np.maximum(delta, table.gap_floor) / spread
    squared = float(d @ d)
    unit = max(float(d @ (delta / spread)), SMALLEST_UNIT * squared)
    return _Stranger(mean, spread, Gap(d / spread, float(np.sqrt(squared)), 0.0, unit))  # its bias is the null's mean


def claim_scores(table: Table, claimed: Claimed) -> Floats:
    """The null: each member's score, everything recomputed without it, ``(M,)``."""
    curve, holdout, outside = sight(table).curve, table.holdout_all, table.readings.holdout
    scores = np.empty(len(claimed.members))
    for member, reading in enumerate(claimed.members):
        others = np.delete(claimed.members, member, axis=0)
        shift = holdout.shift(outside[member], np.delete(outside, member, axis=0).mean(0))
        scores[member] = _stranger(others, table, curve).score(reading, shift)
    return scores


def claim_trace(table: Table, claimed: Claimed, found: float = FOUND) -> Trace:
    """Read a model on a claimant's rows.

    The null scores' mean is what using the members' mean in gap and excess alike adds to a score, so it is taken off;
    a request has ``R / n_never`` for it. Their variance has ``M - 1`` degrees of freedom and needs no prior.

    Args:
        table: one signal on one half, all of whose members never saw the rows.
        claimed: the readings.
        found: normal quantile of the power that the detectable trace speaks of.

    Returns:
        The trace.
    """
    seen, scores, holdout = sight(table), claim_scores(table, claimed), table.holdout_all
    stranger = _stranger(claimed.members, table, seen.curve)
    shift = holdout.shift(claimed.holdout, holdout.mean)
    unit = shift.noise * stranger.gap.norm / (seen.share * stranger.gap.unit)  # of a score, in traces
    sd = float(scores.std(ddof=1)) * unit
    trace = (stranger.score(claimed.model, shift) - float(scores.mean())) * unit
    se = float(np.hypot(sd, table.values.share / 2))
    z, reach = trace / se, table.critical * se
    scatter = float(np.sqrt(seen.widening * sd**2 + seen.misfit))
    return Trace(trace, trace - reach, trace + reach, se, z, p_above(table.pooled, z), reach + found * scatter)


def claim_test(tables: Mapping[str, Table], z: Mapping[str, float], signals: Sequence[str], alpha: float) -> Joint:
    """The largest z over signals, against the largest ``|z|`` of never-seen members on training subjects.

    The ``M`` members give too few pairs with one claim for a 5 % test; pairs with the training subjects have the same
    dependence between signals, and many. Only an excess alarms, yet at the two-sided critical value: where one claim
    is not in the register, others may not be either, and a model trained on much that the members lack lies farther
    from them than they lie from each other.

    Args:
        tables: null distributions by signal, of one half.
        z: the model's z by signal.
        signals: which take part.
        alpha: error rate.

    Returns:
        The test.
    """
    null, statistic = joint_null(tables, signals), max(z[signal] for signal in signals)
    p = p_above(null, statistic)
    return Joint(tuple(signals), statistic, float(np.quantile(null, 1 - alpha)), p, p <= alpha)
