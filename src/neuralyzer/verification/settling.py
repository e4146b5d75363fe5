"""What would settle an inconclusive verdict: more rows, models trained anew to judge, or an exact option."""

import math
from collections.abc import Mapping, Sequence

from neuralyzer.references.training.exact import EXACT_REFERENCES
from neuralyzer.trace.estimator import PoolEstimator
from neuralyzer.trace.exact import ExactEstimator
from neuralyzer.verification.audit import required

AnyEstimator = PoolEstimator | ExactEstimator
JUDGES, RETRAIN = f"--exact-references {EXACT_REFERENCES}", "--method retrain"  # options of ``forget``


def rows_needed(
    estimator: AnyEstimator, detectable: Mapping[str, float], counts: Sequence[str], max_trace: float
) -> str:
    """How many rows would settle an inconclusive verdict, as detectable traces fall with the root of their number.

    Args:
        estimator: of the request.
        detectable: detectable trace by signal.
        counts: signals that count.
        max_trace: the largest that may have been missed.

    Returns:
        A sentence; nothing where as many rows would do.
    """
    finest = (
        min([detectable[name] for name in group if name in counts] or [detectable[name] for name in group])
        for group in required(estimator)
        if group
    )
    rows = sum(len(part.rows) for part in estimator.parts)
    needed = rows * (max(finest, default=0.0) / max_trace) ** 2
    others = (
        "more such references" if isinstance(estimator, ExactEstimator) else "references trained without them alone"
    )
    told = f" About {math.ceil(needed)} rows like these {rows} would settle it, or {others}."
    return told if needed > rows else ""
