"""The scale of a subject's scores: its own variance, shrunk towards that of similar subjects.

Empirical Bayes for variances (Smyth 2004, limma), with a trend: the prior depends on the variance among members that
saw the subject, which reflects how its rows correlate.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from neuralyzer.references.signal_values import Floats

PRIOR_RANGE = (2.0, 60.0)  # smallest and largest degrees of freedom of the prior


@dataclass(frozen=True)
class Prior:
    """A prior of the subjects' score variances.

    Attributes:
        intercept: of the log variance on the log variance among members that saw a subject.
        slope: of the same.
        freedom: degrees of freedom.
        least: smallest variance among members that saw a subject; smaller ones count as this.
    """

    intercept: float
    slope: float
    freedom: float
    least: float = 0.0

    def variance(self, seen: Floats) -> Floats:
        """Return the prior variances of ``S`` subjects, from their variances among members that saw them, ``(S,)``."""
        trend = self.intercept + self.slope * np.log(np.maximum(seen, self.least))
        return np.asarray(np.exp(trend + digamma(self.freedom / 2) - np.log(self.freedom / 2)))

    def shrink(self, variance: Floats | float, freedom: Floats | float, seen: Floats) -> Floats:
        """Return the posterior variances of subjects that have ``variance`` on ``freedom`` degrees of freedom."""
        return np.asarray((freedom * variance + self.freedom * self.variance(seen)) / (freedom + self.freedom))


def prior(variance: Floats, freedom: Floats, seen: Floats) -> Prior:
    """Fit the prior.

    Args:
        variance: of each subject's null scores, ``(S,)``.
        freedom: its degrees of freedom, ``(S,)``.
        seen: variance among members that saw the subject, ``(S,)``.

    Returns:
        The prior. With fewer than three subjects no trend is fitted. By a discrete signal all members may agree on a
        subject: its variance of 0 counts as the smallest positive one.
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
    """Return the smallest variance above 0; 1 where there is none."""
    return float(np.min(variances, where=variances > 0, initial=np.inf)) if (variances > 0).any() else 1.0


def _freedom(excess: float) -> float:
    """Return ``d0`` with ``trigamma(d0 / 2) = excess``, within ``PRIOR_RANGE``."""
    low, high = PRIOR_RANGE
    if excess <= polygamma(1, high / 2):
        return high
    if excess >= polygamma(1, low / 2):
        return low
    for _ in range(60):  # bisection: trigamma is decreasing
        middle = (low + high) / 2
        low, high = (middle, high) if polygamma(1, middle / 2) > excess else (low, middle)
    return (low + high) / 2
