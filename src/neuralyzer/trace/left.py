"""The trace that a verification found to be left, as one number, from which later plans predict."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

NORMAL = 1.960  # standard normal quantile at 97.5 %: half the width of a 95 % interval, in standard errors


def trace_left(families: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the root mean square trace over the counting families, less what retrained models show.

    The trace of a model that never saw the rows is not exactly 0: it scatters by the standard error. So each family's
    squared error is subtracted from its squared trace, and families weigh by the inverse squared error. The largest
    trace over all families would mostly be noise of the least sensitive one.

    Args:
        families: a verification's, with ``unlearned``, ``counts``, and ``low`` and ``high`` of the interval; where
            models that really never saw the rows were read, ``shown``, the mean of their squared traces, is taken off
            in place of the squared error.

    Returns:
        A fraction, 0 or more; None where no family counts.
    """
    total = squares = 0.0
    for family in families:
        if not family.get("counts") or any(family.get(name) is None for name in ("unlearned", "low", "high")):
            continue
        error = (family["high"] - family["low"]) / 2 / NORMAL
        if error > 0:
            total += 1 / error**2
            squares += (family["unlearned"] ** 2 - family.get("shown", error**2)) / error**2
    return math.sqrt(max(0.0, squares / total)) if total else None
