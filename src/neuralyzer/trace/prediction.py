"""Never-seen prediction: how a model under test differs from the members on rows that none of them saw.

The model saw more data than a member, is better or worse, scaled or noisier. Holdout rows tell by how much; the
same shift is expected on the subject's rows, had the model never seen them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.moments import floored

PerModel = Any  # a float of one model, an array ``(K,)`` of several
SMALLEST_NOISE = 1e-6  # in spreads; keeps scores finite for a model that reads just as the members' mean
LARGEST_RESIDUAL = 4.0  # in spreads; a few odd holdout rows must not rule the model's noise


@dataclass(frozen=True)
class Shift:
    """``c0 sigma + c1 mu`` on a row with never-seen mean ``mu`` and spread ``sigma``; ``noise`` is the model's own, g.

    Of one model, or of ``K`` at once: then each is ``(K,)``.
    """

    c0: PerModel
    c1: PerModel
    noise: PerModel

    def on(self, mean: Floats, spread: Floats) -> Floats:
        """The shift expected on rows, ``(n,)`` or ``(K, n)``."""
        c0, c1 = np.asarray(self.c0)[..., None], np.asarray(self.c1)[..., None]
        return np.asarray(c0 * spread + c1 * mean)


@dataclass(frozen=True)
class Holdout:
    """Readings of all members on the holdout: mean ``m_j`` and floored spread ``s_j``, ``(H,)`` each."""

    mean: Floats
    spread: Floats

    def shift(self, reading: Floats, never: Floats) -> Shift:
        """Least squares of ``(reading - never) / s`` on ``(1, m / s)``.

        Args:
            reading: the model's readings on the holdout, ``(H,)``, or those of ``K`` models, ``(K, H)``.
            never: mean over the members that never saw the subject, ``(H,)``, or one each.

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


def shifts_apart(readings: Floats) -> list[Shift]:
    """How each of ``M`` members differs from the others on the holdout, ``(M, H)``; nothing of its own is among them."""
    found = []
    for member, own in enumerate(readings):
        others = np.delete(readings, member, 0)
        mean = others.mean(0)
        found.append(Holdout(mean, floored(others.std(0, ddof=1))).shift(own, mean))
    return found
