"""How much of a trace a verification says is left, in one number: what plans learn from."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

NORMAL = 1.960  # an interval of 95 % reaches so many standard errors


def trace_left(families: Iterable[Mapping[str, Any]]) -> float | None:
    """The root mean square trace over the counting families, less what retrained models show.

    A model that never saw the rows does not read 0: its trace scatters by the standard error. So each family's squared
    trace is taken less its squared error, and families weigh by the inverse of the latter. The largest trace over all
    families, which stood here before, is mostly noise of the coarsest one.

    Args:
        families: a verification's, with ``unlearned``, ``counts``, and ``low`` and ``high`` of the interval; where
            models that really never saw the rows were read, ``shown``, the mean of their squared traces, is taken off
            in place of the squared error.

    Returns:
        A fraction, 0 or more; None where no family counts.
    """
    total = squares = 0.0
    for own in families:
        if not own.get("counts") or any(own.get(name) is None for name in ("unlearned", "low", "high")):
            continue
        error = (own["high"] - own["low"]) / 2 / NORMAL
        if error > 0:
            total += 1 / error**2
            squares += (own["unlearned"] ** 2 - own.get("shown", error**2)) / error**2
    return math.sqrt(max(0.0, squares / total)) if total else None
