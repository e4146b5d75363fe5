"""Whether a pool can answer a request of several subjects: not where they stand in for each other.

Members without A still hold B and C; if these resemble A's rows, such members know A's rows better than a model that
lacks all three would. Then scores fall as a member lacks more of the other requested subjects.
"""

from collections.abc import Sequence

import numpy as np

from neuralyzer.references.readings import Part
from neuralyzer.trace.table import Table

STEEPEST = -2.0  # slope z below which subjects stand in for each other
LARGEST_ERROR = 0.5  # standard error above which nothing can be said


def obstacle(table: Table, parts: Sequence[Part]) -> str | None:
    """Why the pool cannot answer; None where it can.

    Args:
        table: of one signal, on the tuning half.
        parts: what the request asks for, by subject.

    Returns:
        A sentence, or None. Each subject's null z is regressed on how many of the other requested subjects the member
        lacks, the slope pooled over the request.
    """
    if len(parts) < 2:
        return None
    keep = table.half.keep[:, [part.subject for part in parts]]
    x_all, y_all = [], []
    for place, null in enumerate(table.parts_null(parts)):
        others = np.delete(~keep, place, axis=1)[null.members].sum(1).astype(float)
        z = table.null_z(null)
        x_all.append(others - others.mean())
        y_all.append(z - z.mean())
    x, y = np.concatenate(x_all), np.concatenate(y_all)
    spread = float(x @ x)
    freedom = len(x) - len(parts) - 1
    if spread == 0 or freedom < 1:
        return "the references cannot tell whether the requested subjects stand in for each other"
    slope = float(x @ y) / spread
    error = float(np.sqrt(np.square(y - slope * x).sum() / freedom / spread))
    if error > LARGEST_ERROR:
        return "the references cannot tell whether the requested subjects stand in for each other"
    if slope / error < STEEPEST:
        return "the requested subjects stand in for each other: members without one still know it from the others"
    return None
