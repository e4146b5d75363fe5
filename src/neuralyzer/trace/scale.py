"""The scale of a subject's scores: its own variance, shrunk towards what similar subjects have.

Empirical Bayes for variances (Smyth 2004, limma), with a trend: the prior follows the variance among members that
did see the subject, since rows of one subject correlate and that variance knows it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from neuralyzer.references.signal_values import Floats

PRIOR_RANGE = (2.0, 60.0)  # degrees of freedom of the prior


@dataclass(frozen=True)
class Prior:
    """Prior of the variances of ``S`` subjects: ``variance (S,)`` on ``freedom`` degrees of freedom."""

    intercept: float
    slope: float
    freedom: float
    least: float = 0.0

    def variance(self, seen: Floats) -> Floats:
        """Prior variances, from the variances among members that saw the subjects, ``least`` where that is less."""
        trend = self.intercept + self.slope * np.log(np.maximum(seen, self.least))
        return np.asarray(np.exp(trend + digamma(self.freedom / 2) - np.log(self.freedom / 2)))

    def shrink(self, variance: Floats | float, freedom: Floats | float, seen: Floats) -> Floats:
        """Posterior variances of own ``variance`` on ``freedom`` degrees of freedom."""
        return np.asarray((freedom * variance + self.freedom * self.variance(seen)) / (freedom + self.freedom))


def prior(variance: Floats, freedom: Floats, seen: Floats) -> Prior:
    """Fit the prior.

    Args:
        variance: of each subject's null scores, ``(S,)``.
        freedom: its degrees of freedom, ``(S,)``.
        seen: variance among members that saw the subject, ``(S,)``.

    Returns:
        The prior. With fewer than three subjects no trend is fitted. Members agree on some subjects by a discrete
        signal: their variance of 0 counts as the smallest that there is.
    """
    half, least = freedom / 2, _least(seen)
    e = np.log(np.maximum(variance, _least(variance))) - digamma(half) + np.log(half)
    x = np.log(np.maximum(seen, least))
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ e) / spread if len(e) > 2 and spread > 0 else 0.0
    intercept = float(e.mean() - slope * x.mean())
    count = len(e)
    excess = 0.0
    if count > 1:
        excess = float(np.square(e - intercept - slope * x).mean() * count / (count - 1) - polygamma(1, half).mean())
    return Prior(intercept, slope, _freedom(excess), least)


def _least(variances: Floats) -> float:
    """The smallest variance above 0; 1 where there is none, in units of the rows' spread."""
    return float(np.min(variances, where=variances > 0, initial=np.inf)) if (variances > 0).any() else 1.0


def _freedom(excess: float) -> float:
    """``d0`` with ``trigamma(d0 / 2) = excess``, held in its range."""
    low, high = PRIOR_RANGE
    if excess <= polygamma(1, high / 2):
        return high
    if excess >= polygamma(1, low / 2):
        return low
    for _ in range(60):  # trigamma falls steadily
        middle = (low + high) / 2
        low, high = (middle, high) if polygamma(1, middle / 2) > excess else (low, middle)
    return (low + high) / 2
