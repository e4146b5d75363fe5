"""The gap that having seen a row would make, where no member saw it: predicted from what training rows show."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.null_table import Table

KNOTS = 10


@dataclass(frozen=True)
class GapCurve:
    """Mean gap of training rows against their never-seen mean.

    Piecewise linear between the means over tenths of the rows and level beyond the outermost, for the gap falls fast
    and then hardly any more: what a model knows unseen, it need not be shown. Predicted in the signal's own unit, not
    in spreads: the spread within the members that saw a row, which is smaller, has no counterpart where none saw it.

    Attributes:
        at: never-seen means, ascending, ``(K,)``.
        gap: mean gap about each, ``(K,)``.
    """

    at: Floats
    gap: Floats

    def on(self, mean: Floats) -> Floats:
        """The gap expected on rows of never-seen means ``mean (n,)``."""
        return np.asarray(np.interp(mean, self.at, self.gap))


def gap_curve(table: Table) -> GapCurve:
    """The curve through a table's training rows."""
    moments = [null.moments for null in table.nulls.values()]
    never = np.concatenate([own.never for own in moments])
    gap = np.concatenate([own.seen for own in moments]) - never
    tenths = np.array_split(np.argsort(never, kind="stable"), min(KNOTS, len(never)))
    return GapCurve(np.array([never[own].mean() for own in tenths]), np.array([gap[own].mean() for own in tenths]))
