"""The score of a model on a subject's rows, and the unit that turns a score into a trace (docs/statistics.md)."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats
from neuralyzer.trace.moments import Moments
from neuralyzer.trace.prediction import Holdout, PerModel, Shift

SMALLEST_UNIT = 0.3  # of |d|^2: keeps a trace finite where the bias correction is as large as the gap


@dataclass(frozen=True)
class Gap:
    """The difference that training on the rows makes, and each row's weight; for one model or ``K`` at once.

    Attributes:
        weights: ``w_i = d_i / sigma_i``, ``(n,)`` or ``(K, n)``.
        norm: ``|d|``.
        bias: sum of ``1 / n_never`` over the rows whose gap exceeds the floor.
        unit: ``D``, the score's numerator for a model that saw the rows.
    """

    weights: Floats
    norm: PerModel
    bias: PerModel
    unit: PerModel


def gap(
    moments: Moments, holdout: Holdout, seen: Floats, never: Floats, floor: float, comparable: Flags | None = None
) -> Gap:
    """Return the gap between members that saw the rows and members that did not, less their difference on the holdout.

    Args:
        moments: on the subject's rows.
        holdout: of all members.
        seen: mean on the holdout over members that saw the subject, ``(H,)``.
        never: mean on the holdout over members that did not, ``(H,)`` or ``(K, H)``.
        floor: smallest gap that counts.
        comparable: on which rows each model can be compared, ``(n,)`` or ``(K, n)``; all by default.

    Returns:
        The gap.
    """
    between = holdout.shift(seen, never)
    delta = moments.seen - moments.never - between.on(moments.never, moments.spread)
    d = np.maximum(delta, floor) / moments.spread
    counted = delta > floor
    if comparable is not None:
        d, counted = np.where(comparable, d, 0.0), counted & comparable
    bias = (counted / moments.n_never).sum(-1)
    squared = np.square(d).sum(-1)
    unit = np.maximum(
        (d * (delta / moments.spread)).sum(-1) - bias - (counted / moments.n_seen).sum(-1), SMALLEST_UNIT * squared
    )
    return Gap(d / moments.spread, np.sqrt(squared), bias, unit)


def score(reading: Floats, moments: Moments, shift: Shift, gap: Gap) -> PerModel:
    """Return the score ``q``: the weighted excess over the never-seen prediction, in units of the model's noise.

    Args:
        reading: the model's readings on the subject's rows, ``(n,)``, or those of ``K`` models, ``(K, n)``.
        moments: of the members on these rows.
        shift: of the model under test.
        gap: of the subject.

    Returns:
        One score per model. The gap's ``bias`` (``R / n_never`` where all rows are comparable) is subtracted, because
        the never-seen mean enters both the gap and the excess.
    """
    excess = reading - moments.never - shift.on(moments.never, moments.spread)
    return ((gap.weights * excess).sum(-1) - gap.bias) / (shift.noise * gap.norm)
