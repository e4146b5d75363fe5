"""Ways to settle an inconclusive verdict: more rows, exact references, or an exact option."""

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
    """Return a sentence on how many rows would settle an inconclusive verdict.

    Detectable traces fall with the square root of the number of rows.

    Args:
        estimator: of the request.
        detectable: detectable trace by signal.
        counts: signals that count.
        max_trace: the largest that may have been missed.

    Returns:
        A sentence; empty where no more rows are needed.
    """
    smallest = (
        min([detectable[name] for name in group if name in counts] or [detectable[name] for name in group])
        for group in required(estimator)
        if group
    )
    rows = sum(len(part.rows) for part in estimator.parts)
    needed = rows * (max(smallest, default=0.0) / max_trace) ** 2
    others = (
        "more such references" if isinstance(estimator, ExactEstimator) else "references trained without them alone"
    )
    return f" About {math.ceil(needed)} rows like these {rows} would settle it, or {others}." if needed > rows else ""
