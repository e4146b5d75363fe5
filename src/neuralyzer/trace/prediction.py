"""Never-seen prediction: the signal values expected of the model under test on rows that it never saw.

The model was trained on more data than a member; it may be better or worse, differently scaled or noisier. The shift is
fitted on holdout rows, and the same shift is expected on the subject's rows, had the model never seen them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.moments import floored

PerModel = Any  # a float of one model, an array ``(K,)`` of several
SMALLEST_NOISE = 1e-6  # in spreads; keeps scores finite for a model that equals the members' mean on the holdout
LARGEST_RESIDUAL = 4.0  # in spreads; larger residuals are clipped, so that few outliers do not dominate the noise


@dataclass(frozen=True)
class Shift:
    """A fitted shift, ``c0 sigma + c1 mu`` on a row with never-seen mean ``mu`` and spread ``sigma``.

    For ``K`` models at once, each attribute is ``(K,)``.

    Attributes:
        c0: shift in spreads.
        c1: shift per unit of the never-seen mean.
        noise: root mean square residual ``g``, in spreads.
    """

    c0: PerModel
    c1: PerModel
    noise: PerModel

    def on(self, mean: Floats, spread: Floats) -> Floats:
        """Return the shift expected on rows, ``(n,)`` or ``(K, n)``."""
        c0, c1 = np.asarray(self.c0)[..., None], np.asarray(self.c1)[..., None]
        return np.asarray(c0 * spread + c1 * mean)


@dataclass(frozen=True)
class Holdout:
    """The members' signal values on the holdout: mean ``m_j`` and floored spread ``s_j``, ``(H,)`` each."""

    mean: Floats
    spread: Floats

    def shift(self, reading: Floats, never: Floats) -> Shift:
        """Fit ``(reading - never) / s`` to ``(1, m / s)`` by least squares.

        Args:
            reading: the model's values on the holdout, ``(H,)``, or those of ``K`` models, ``(K, H)``.
            never: mean over the members that never saw the subject, ``(H,)``, or one for each model, ``(K, H)``.

        Returns:
            The fitted shift; its noise is the root mean square of the residuals, clipped at 4.
        """
        y = (reading - never) / self.spread
        x = self.mean / self.spread
        centred = x - x.mean()
        across = float(centred @ centred)
        c1 = y @ centred / across if across > 0 else np.zeros(y.shape[:-1])
        c0 = y.mean(-1) - c1 * x.mean()
        residuals = y - c0[..., None] - c1[..., None] * x
        np.clip(residuals, -LARGEST_RESIDUAL, LARGEST_RESIDUAL, out=residuals)
        return Shift(c0, c1, np.maximum(np.sqrt(np.square(residuals).mean(-1)), SMALLEST_NOISE))


def leave_one_out_shifts(readings: Floats) -> list[Shift]:
    """Fit each member's shift against all other members, from ``M`` members' holdout values ``(M, H)``."""
    shifts = []
    for member, values in enumerate(readings):
        others = np.delete(readings, member, 0)
        mean = others.mean(0)
        shifts.append(Holdout(mean, floored(others.std(0, ddof=1))).shift(values, mean))
    return shifts
