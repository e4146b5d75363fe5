"""The residual trace of a model under one signal: estimate, interval, p-value, detectable trace."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Floats, Part
from neuralyzer.trace.estimate import score
from neuralyzer.trace.joint import p_above
from neuralyzer.trace.null_table import Contrast, NullTable
from neuralyzer.trace.prediction import Shift

POWER_QUANTILE = 1.645  # standard normal quantile at 95 %, the power with which a detectable trace is found


@dataclass(frozen=True)
class Trace:
    """The residual trace of one model by one signal on a request's rows; 1.0 = 100 %.

    Attributes:
        trace: the estimate.
        low: lower end of its 95 % interval.
        high: upper end.
        se: standard error.
        z: ``trace / se``.
        p_value: share of the null's ``|z|`` that are at least as large.
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
        """Return whether this signal alone finds a trace: 0 lies outside the interval."""
        return not self.low <= 0 <= self.high


def shifts(
    table: NullTable, parts: Sequence[Part], contrasts: Sequence[Contrast], holdout: Sequence[Floats]
) -> list[Shift]:
    """Fit a model's shift against the members that never saw each part, from its signal values on the holdout."""
    return [
        table.holdout(part.subject).shift(values, contrast.never)
        for part, contrast, values in zip(parts, contrasts, holdout, strict=True)
    ]


def trace_alone(table: NullTable, parts: Sequence[Part], rows: Sequence[Floats], holdout: Sequence[Floats]) -> float:
    """Return the estimate of ``residual_trace`` without its error: a third of the time, since no null is computed."""
    contrasts = [table.contrast(part) for part in parts]
    fitted = shifts(table, parts, contrasts, holdout)
    return float(sum(_excesses(table, contrasts, fitted, rows)) / sum(contrast.gap.unit for contrast in contrasts))


def _excesses(
    table: NullTable, contrasts: Sequence[Contrast], fitted: Sequence[Shift], rows: Sequence[Floats]
) -> list[float]:
    """Return each part's score less the null's centre, times ``g |d|``."""
    return [
        float((score(reading, contrast.moments, shift, contrast.gap) - table.centre) * shift.noise * contrast.gap.norm)
        for contrast, shift, reading in zip(contrasts, fitted, rows, strict=True)
    ]


def residual_trace(
    table: NullTable,
    parts: Sequence[Part],
    rows: Sequence[Floats],
    holdout: Sequence[Floats],
    power_quantile: float = POWER_QUANTILE,
) -> Trace:
    """Estimate a model's residual trace by one signal.

    Args:
        table: null table of the signal on one split.
        parts: the request's rows by subject.
        rows: the model's values on each part's rows, ``(n,)`` each.
        holdout: its values on the holdout that goes with each part, ``(H,)`` each.
        power_quantile: standard normal quantile of the power that defines the detectable trace.

    Returns:
        The trace. Variances of parts add; ``tau``, which comes from the data that members lack, is added once.
    """
    nulls = table.parts_null(parts)
    fitted = shifts(table, parts, nulls, holdout)
    unit = sum(null.gap.unit for null in nulls)
    scales = [shift.noise * null.gap.norm for null, shift in zip(nulls, fitted, strict=True)]
    variance = sum((table.sd(null) * scale) ** 2 for null, scale in zip(nulls, scales, strict=True))
    seen = sum(null.seen_variance * scale**2 for null, scale in zip(nulls, scales, strict=True))
    tau = table.values.share / 2
    trace = sum(_excesses(table, nulls, fitted, rows)) / unit
    se = float(np.sqrt(variance / unit**2 + tau**2))
    z = trace / se
    reach = table.critical * se
    p = p_above(table.pooled, abs(z))
    detectable = reach + power_quantile * float(np.sqrt(seen)) / unit
    return Trace(trace, trace - reach, trace + reach, se, z, p, detectable)
