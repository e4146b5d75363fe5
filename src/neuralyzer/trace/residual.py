"""The residual trace of a model under one signal: estimate, interval, p-value, detectable trace."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuralyzer.references.readings import Floats, Part
from neuralyzer.trace.estimate import score
from neuralyzer.trace.prediction import Shift
from neuralyzer.trace.table import Null, Table

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


def shifts(table: Table, parts: Sequence[Part], holdout: Sequence[Floats]) -> list[tuple[Null, Shift]]:
    """Each part's null, and how a model that reads so on the holdout differs from the members that never saw the part."""
    return [
        (null, table.holdout(part.subject).shift(outside, null.never))
        for part, null, outside in zip(parts, table.parts_null(parts), holdout, strict=True)
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
    numerator = unit = variance = seen = 0.0
    for (null, shift), reading in zip(shifts(table, parts, holdout), rows, strict=True):
        scale = shift.noise * null.gap.norm
        numerator += (score(reading, null.moments, shift, null.gap) - table.centre) * scale
        unit += null.gap.unit
        variance += (table.sd(null) * scale) ** 2
        seen += null.seen_variance * scale**2
    tau = table.half.share / 2
    trace, se = numerator / unit, float(np.sqrt(variance / unit**2 + tau**2))
    z = trace / se
    reach = table.critical * se
    p = (1 + int((table.pooled >= abs(z)).sum())) / (1 + len(table.pooled))
    return Trace(trace, trace - reach, trace + reach, se, z, p, reach + found * float(np.sqrt(seen)) / unit)
