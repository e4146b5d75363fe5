"""The predicted power of a pool: ``se^2 = (c0 + rho (n - 1)) / (n d^2) + tau^2``, refitted where a pool exists.

``c0`` is the variance of one row's noise and ``rho`` the covariance of rows of one subject, so more rows reduce the
error as ``1 / sqrt(n)`` down to a floor. ``d^2``, a row's mean squared gap in spreads, varies most between subjects:
models predict the rows of some subjects just as well without them. So power is averaged over its distribution. A trace
``L`` is found with probability ``Phi(L / se - critical)``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtr

from neuralyzer.references import design
from neuralyzer.trace.joint import joint_null
from neuralyzer.trace.null_table import NullTable

QUANTILES = np.linspace(0.05, 0.95, 10)  # at which the distribution of the subjects' d^2 is kept
LEAST_RANGE = 1.5  # largest over smallest subject, in rows, from which c0 and rho can be told apart
SMALLEST_GAP = 1e-3  # of d^2, for subjects that show no gap at all


@dataclass(frozen=True)
class Formula:
    """The planning formula of a model.

    Attributes:
        signal: the one with most power; the joint test has more.
        c0: variance of a row's noise.
        rho: covariance of rows of one subject.
        gaps: quantiles of ``d^2`` over subjects, from 5 to 95 %.
        critical: value of the joint test.
        n_never: members that left a subject out, in the pool it was fitted on.
        refitted: whether it was fitted on this model's own references, not on the digits.
    """

    signal: str
    c0: float
    rho: float
    gaps: tuple[float, ...]
    critical: float
    n_never: float
    refitted: bool

    def power(self, rows: int, members: int, trace: float = 1.0, share: float | None = None) -> float:
        """Return the probability that a trace is found, averaged over subjects.

        Args:
            rows: of the subject, ``n``.
            members: of a split; they set ``tau``, half of the share that each lacks, and the error of the means.
            trace: ``L``.
            share: of the subjects that each member leaves out; by default that of a pool of this size.

        Returns:
            The power.
        """
        share = design.share_for(members) if share is None else share
        never = max(share * members, 2.0)
        wider = (1 + 1 / never) / (1 + 1 / self.n_never)
        variance = wider * (self.c0 + self.rho * (rows - 1)) / (rows * np.array(self.gaps)) + (share / 2) ** 2
        return float(ndtr(trace / np.sqrt(variance) - self.critical).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the formula as plain values."""
        return asdict(self) | {"gaps": list(self.gaps)}


def refit(tables: Mapping[str, NullTable], alpha: float = 0.05) -> Formula | None:
    """Fit the formula to existing references; the smaller their pool, the rougher the fit.

    Args:
        tables: null tables by signal, of one split.
        alpha: error rate of the joint test.

    Returns:
        The formula of the signal with most power at the median subject; None where no signal reads three subjects.
    """
    usable = {name: table for name, table in tables.items() if table.readings.units is None and len(table.subjects) > 2}
    if not usable:
        return None
    critical = float(np.quantile(joint_null(usable, list(usable), weighted=True), 1 - alpha))
    formulas = [_fitted(name, table, critical) for name, table in usable.items()]
    first = next(iter(usable.values()))
    rows = int(np.median([len(first.values.positions[subject]) for subject in first.subjects]))
    return max(formulas, key=lambda formula: formula.power(rows, first.values.members, share=first.values.share))


def _fitted(name: str, table: NullTable, critical: float) -> Formula:
    """Fit ``n d^2 se^2`` to ``(1, n - 1)`` by least squares, neither coefficient below 0.

    Subjects of nearly equal size cannot tell the two coefficients apart; rows then count as independent.

    Returns:
        The formula.
    """
    nulls = list(table.nulls.values())
    n = np.array([len(null.moments.never) for null in nulls])
    squared = np.array([null.gap.norm**2 for null in nulls])  # n d^2
    se = np.array([table.sd(null) * null.gap.norm / null.gap.unit for null in nulls])  # a model's noise g is about 1
    y = squared * se**2
    (c0, rho), _ = nnls(np.stack([np.ones(len(n)), n - 1.0], axis=1), y)
    if n.max() < LEAST_RANGE * n.min():
        c0, rho = y.mean(), 0.0
    gaps = np.quantile(np.maximum(squared / n, SMALLEST_GAP), QUANTILES)
    never = float(np.mean([len(null.scores) for null in nulls]))
    return Formula(name, float(c0), float(rho), tuple(float(gap) for gap in gaps), critical, never, True)


# Refitted on the demo's digits (python -m benchmarks power): 30 customers of 22 to 100 rows, 32 members a split.
DIGITS = Formula(
    "fisher", 3.34, 0.0, (0.379, 0.535, 0.717, 1.04, 1.30, 1.70, 2.06, 2.73, 3.20, 5.54), 1.97, 6.0, refitted=False
)
