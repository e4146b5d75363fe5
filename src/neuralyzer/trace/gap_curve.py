"""The predicted gap of a row that no member saw: a curve fitted to the gaps of the training rows."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.null_table import NullTable

KNOTS = 10  # points of the curve, each the mean over a tenth of the rows


@dataclass(frozen=True)
class GapCurve:
    """Mean gap of training rows as a function of their never-seen mean.

    The curve is piecewise linear between the means over tenths of the rows and constant beyond the outermost. The gap
    first falls fast and then hardly changes: training on a row adds little where models predict it well without. The
    curve predicts in the signal's own unit, not in spreads, since the spread includes the members that saw a row, and
    no member saw the claimed rows.

    Attributes:
        at: never-seen means, ascending, ``(K,)``.
        gap: mean gap about each, ``(K,)``.
    """

    at: Floats
    gap: Floats

    def on(self, mean: Floats) -> Floats:
        """Return the gap expected on rows of never-seen means ``mean (n,)``."""
        return np.asarray(np.interp(mean, self.at, self.gap))


def gap_curve(table: NullTable) -> GapCurve:
    """Fit the curve to a table's training rows."""
    by_subject = [null.moments for null in table.nulls.values()]
    never = np.concatenate([moments.never for moments in by_subject])
    gap = np.concatenate([moments.seen for moments in by_subject]) - never
    tenths = np.array_split(np.argsort(never, kind="stable"), min(KNOTS, len(never)))
    return GapCurve(np.array([never[rows].mean() for rows in tenths]), np.array([gap[rows].mean() for rows in tenths]))
