"""The gap that having seen a row would make, where no member saw it: predicted from what training rows show."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.readings import Floats
from neuralyzer.trace.table import Null, Table


@dataclass(frozen=True)
class GapLine:
    """Gap ``intercept sigma + slope mu`` on a row with never-seen mean ``mu`` and spread ``sigma``."""

    intercept: float
    slope: float

    def on(self, mean: Floats, spread: Floats) -> Floats:
        """The gap expected on rows, ``(n,)``."""
        return self.intercept * spread + self.slope * mean


def gap_line(table: Table) -> GapLine:
    """Least squares of training rows' gaps on ``(1, mu / sigma)``, both in spreads."""
    nulls = list(table.nulls.values())
    slope, intercept = np.polyfit(
        np.concatenate([null.moments.never / null.moments.spread for null in nulls]),
        np.concatenate([gap_in_spreads(null) for null in nulls]),
        1,
    )
    return GapLine(float(intercept), float(slope))


def gap_in_spreads(null: Null) -> Floats:
    """``(nu - mu) / sigma`` on a subject's rows, ``(n,)``."""
    moments = null.moments
    return (moments.seen - moments.never) / moments.spread
