"""The residual trace of a claimant's rows: no register holds them, so no member of the pool was trained on them.

The gap that training on these rows would make cannot be measured. It is predicted from the gaps of the training rows
(``gap_curve``). The never-seen prediction, the score and the null are those of a request, over all members. The test is
one-sided: a model that knows the rows less well than a model that never saw them was not trained on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.estimate import SMALLEST_UNIT, Gap
from neuralyzer.trace.gap_curve import GapCurve, gap_curve
from neuralyzer.trace.joint import Joint, joint_null, p_above
from neuralyzer.trace.null_table import Null, NullTable
from neuralyzer.trace.prediction import Shift
from neuralyzer.trace.residual import POWER_QUANTILE, Trace


@dataclass(frozen=True)
class ClaimedReadings:
    """One signal's values on ``n`` rows of a claimant.

    Attributes:
        members: by all members of the split, ``(M, n)``.
        model: by the model under test, ``(n,)``.
        holdout: by the model under test, on the pool's holdout, ``(H,)``.
    """

    members: Floats
    model: Floats
    holdout: Floats


@dataclass(frozen=True)
class FittedGap:
    """A model of the gap, fitted to the training subjects.

    Attributes:
        curve: predicts a row's gap from its never-seen mean.
        share: true gap over predicted gap, rows weighed as in a score; mean over training subjects.
        misfit: variance of that ratio over subjects, divided by its squared mean.
        widening: variance of scores among members that saw a subject over that among members that did not; geometric
            mean over training subjects.
    """

    curve: GapCurve
    share: float
    misfit: float
    widening: float


@lru_cache(maxsize=16)
def fitted_gap(table: NullTable) -> FittedGap:
    """Fit the curve and its error to a table's training subjects; cached by table."""
    curve = gap_curve(table)
    nulls = list(table.nulls.values())
    widening = np.exp(np.mean([np.log(null.seen_variance / np.var(null.scores, ddof=1)) for null in nulls]))
    shares = [_share(null, curve, table.gap_floor) for null in nulls]
    share = max(float(np.mean(shares)), SMALLEST_UNIT)
    misfit = float(np.var(shares, ddof=1)) / share**2 if len(shares) > 1 else 0.0
    return FittedGap(curve, share, misfit, float(widening))


def _share(null: Null, curve: GapCurve, floor: float) -> float:
    """Return a subject's true gap divided by the predicted one, rows weighed as in a score."""
    moments = null.moments
    d = np.maximum(curve.on(moments.never), floor) / moments.spread
    return float(d @ ((moments.seen - moments.never) / moments.spread) / (d @ d))


@dataclass(frozen=True)
class _UnseenNull:
    """The distribution over members that never saw the rows: ``mean (n,)``, ``spread (n,)``, and the predicted gap."""

    mean: Floats
    spread: Floats
    gap: Gap

    def score(self, reading: Floats, shift: Shift) -> float:
        """Return the score ``q`` of a model's signal values ``(n,)``."""
        excess = reading - self.mean - shift.on(self.mean, self.spread)
        return float((self.gap.weights @ excess) / (shift.noise * self.gap.norm))


def _unseen_null(members: Floats, table: NullTable, curve: GapCurve) -> _UnseenNull:
    """Return the members' moments and the gap predicted from them; no member that saw the rows enters."""
    mean, spread = members.mean(0), np.maximum(members.std(0, ddof=1), table.spread_floor)
    delta = curve.on(mean)
    d = np.maximum(delta, table.gap_floor) / spread
    squared = float(d @ d)
    unit = max(float(d @ (delta / spread)), SMALLEST_UNIT * squared)
    return _UnseenNull(mean, spread, Gap(d / spread, float(np.sqrt(squared)), 0.0, unit))  # its bias is the null's mean


def claim_scores(table: NullTable, claimed: ClaimedReadings) -> Floats:
    """Return the null scores: each member's score with everything recomputed without that member, ``(M,)``."""
    curve, holdout, holdout_values = fitted_gap(table).curve, table.holdout_all, table.readings.holdout
    scores = np.empty(len(claimed.members))
    for member, reading in enumerate(claimed.members):
        others = np.delete(claimed.members, member, axis=0)
        shift = holdout.shift(holdout_values[member], np.delete(holdout_values, member, axis=0).mean(0))
        scores[member] = _unseen_null(others, table, curve).score(reading, shift)
    return scores


def claim_trace(table: NullTable, claimed: ClaimedReadings, power_quantile: float = POWER_QUANTILE) -> Trace:
    """Estimate a model's trace on a claimant's rows.

    The members' mean enters both the gap and the excess, which biases a score. The mean of the null scores is this
    bias, so it is subtracted (a request subtracts ``R / n_never``). The variance of the null scores has ``M - 1``
    degrees of freedom and is not shrunk.

    Args:
        table: one signal on one split, none of whose members saw the rows.
        claimed: the signal values on the claimed rows.
        power_quantile: standard normal quantile of the power that defines the detectable trace.

    Returns:
        The trace.
    """
    fitted, scores, holdout = fitted_gap(table), claim_scores(table, claimed), table.holdout_all
    unseen = _unseen_null(claimed.members, table, fitted.curve)
    shift = holdout.shift(claimed.holdout, holdout.mean)
    unit = shift.noise * unseen.gap.norm / (fitted.share * unseen.gap.unit)  # the trace that a score of 1 is
    sd = float(scores.std(ddof=1)) * unit
    trace = (unseen.score(claimed.model, shift) - float(scores.mean())) * unit
    se = float(np.hypot(sd, table.values.share / 2))
    z, reach = trace / se, table.critical * se
    scatter = float(np.sqrt(fitted.widening * sd**2 + fitted.misfit))
    detectable = reach + power_quantile * scatter
    return Trace(trace, trace - reach, trace + reach, se, z, p_above(table.pooled, z), detectable)


def claim_test(tables: Mapping[str, NullTable], z: Mapping[str, float], signals: Sequence[str], alpha: float) -> Joint:
    """Test the largest z over signals against the largest ``|z|`` of (never-seen member, training subject) pairs.

    One claim gives only ``M`` pairs, too few for a 5 % test. The pairs with training subjects are many, and their
    signals depend on each other in the same way. The test is one-sided, yet at the two-sided critical value: where one
    claimant is missing from the register, others may be too, and a model trained on much that the members lack lies
    farther from them than they lie from each other.

    Args:
        tables: null tables by signal, of one split.
        z: the model's z by signal.
        signals: which take part.
        alpha: error rate.

    Returns:
        The test.
    """
    null, statistic = joint_null(tables, signals), max(z[signal] for signal in signals)
    p = p_above(null, statistic)
    return Joint(tuple(signals), statistic, float(np.quantile(null, 1 - alpha)), p, p <= alpha)
