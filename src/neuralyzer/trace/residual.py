"""The residual trace of a model under one signal: estimate, interval, p-value, detectable trace."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Floats, Part
from neuralyzer.trace.estimate import score
from neuralyzer.trace.joint import p_above
from neuralyzer.trace.null_table import Contrast, Table
from neuralyzer.trace.prediction import Shift

FOUND = 1.645  # standard normal quantile at 95 %: the power that the detectable trace speaks of


@dataclass(frozen=True)
class Trace:
    """What one signal says of one model on a request's rows; 1.0 = 100 %.

    Attributes:
        trace: the estimate.
        low: lower end of its 95 % interval.
        high: upper end.
        se: standard error.
        z: ``trace / se``.
        p_value: share of never-seen members at least as odd.
        detectable: the smallest trace that would have been found with 95 % power.
    """

    trace: float
    low: float
    high: float
    se: float
    z: float
    p_value: float
    detectable: float

    @property
    def found(self) -> bool:
        """Whether this signal alone tells the model from those that never saw the rows: 0 lies outside the interval."""
        return not self.low <= 0 <= self.high


def shifts(
    table: Table, parts: Sequence[Part], contrasts: Sequence[Contrast], holdout: Sequence[Floats]
) -> list[Shift]:
    """How a model that reads so on the holdout differs from the members that never saw each part."""
    return [
        table.holdout(part.subject).shift(outside, own.never)
        for part, own, outside in zip(parts, contrasts, holdout, strict=True)
    ]


def estimated(table: Table, parts: Sequence[Part], rows: Sequence[Floats], holdout: Sequence[Floats]) -> float:
    """The trace of ``residual_trace`` alone: of thousands of subjects in a third of the time, for no null is made."""
    contrasts = [table.contrast(part) for part in parts]
    found = shifts(table, parts, contrasts, holdout)
    return float(sum(_excesses(table, contrasts, found, rows)) / sum(own.gap.unit for own in contrasts))


def _excesses(
    table: Table, contrasts: Sequence[Contrast], found: Sequence[Shift], rows: Sequence[Floats]
) -> list[float]:
    """Each part's score, less the mean of all, in the unit of its gap."""
    return [
        float((score(reading, own.moments, shift, own.gap) - table.centre) * shift.noise * own.gap.norm)
        for own, shift, reading in zip(contrasts, found, rows, strict=True)
    ]


def residual_trace(
    table: Table, parts: Sequence[Part], rows: Sequence[Floats], holdout: Sequence[Floats], found: float = FOUND
) -> Trace:
    """Read a model.

    Args:
        table: one signal on one half.
        parts: what the request asks for, by subject.
        rows: the model's readings on each part's rows, ``(n,)`` each.
        holdout: its readings on the holdout that goes with each part, ``(H,)`` each.
        found: normal quantile of the power that the detectable trace speaks of.

    Returns:
        The trace. Parts add as independent; what no pool trained on less data can see finer (``tau``) is added once.
    """
    nulls = table.parts_null(parts)
    found_shifts = shifts(table, parts, nulls, holdout)
    unit = sum(null.gap.unit for null in nulls)
    scales = [shift.noise * null.gap.norm for null, shift in zip(nulls, found_shifts, strict=True)]
    variance = sum((table.sd(null) * scale) ** 2 for null, scale in zip(nulls, scales, strict=True))
    seen = sum(null.seen_variance * scale**2 for null, scale in zip(nulls, scales, strict=True))
    tau = table.values.share / 2
    trace = sum(_excesses(table, nulls, found_shifts, rows)) / unit
    se = float(np.sqrt(variance / unit**2 + tau**2))
    z = trace / se
    reach = table.critical * se
    p = p_above(table.pooled, abs(z))
    return Trace(trace, trace - reach, trace + reach, se, z, p, reach + found * float(np.sqrt(seen)) / unit)
