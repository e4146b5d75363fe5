"""Never-seen prediction: how a model under test differs from the members on rows that none of them saw.

The model saw more data than a member, is better or worse, scaled or noisier. Holdout rows tell by how much; the
same shift is expected on the subject's rows, had the model never seen them.
"""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.readings import Floats

SMALLEST_NOISE = 1e-6  # in spreads; keeps scores finite for a model that reads just as the members' mean
LARGEST_RESIDUAL = 4.0  # in spreads; a few odd holdout rows must not rule the model's noise


@dataclass(frozen=True)
class Shift:
    """``c0 sigma + c1 mu`` on a row with never-seen mean ``mu`` and spread ``sigma``; ``noise`` is the model's own, g."""

    c0: float
    c1: float
    noise: float

    def on(self, mean: Floats, spread: Floats) -> Floats:
        """The shift expected on rows, ``(n,)``."""
        return self.c0 * spread + self.c1 * mean


@dataclass(frozen=True)
class Holdout:
    """Readings of all members on the holdout: mean ``m_j`` and floored spread ``s_j``, ``(H,)`` each."""

    mean: Floats
    spread: Floats

    def shift(self, reading: Floats, never: Floats) -> Shift:
        """Least squares of ``(reading - never) / s`` on ``(1, m / s)``.

        Args:
            reading: the model's readings on the holdout, ``(H,)``.
            never: mean over the members that never saw the subject, ``(H,)``.

        Returns:
            The fitted shift; its noise is the root mean square of the residuals, clipped at 4.
        """
        y = (reading - never) / self.spread
        x = self.mean / self.spread
        centred = x - x.mean()
        across = float(centred @ centred)
        c1 = float(centred @ y) / across if across > 0 else 0.0
        c0 = float(y.mean() - c1 * x.mean())
        residuals = np.clip(y - c0 - c1 * x, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        return Shift(c0, c1, max(float(np.sqrt(np.square(residuals).mean())), SMALLEST_NOISE))
