"""One half of a pool: what its members read, and what reads a model the same way."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from neuralyzer.references.measuring import Meter
from neuralyzer.references.readings import Flags, Half, Part
from neuralyzer.signals.signal import Batch

THINNED = 256  # holdout rows


@dataclass(frozen=True, eq=False)
class ReferenceHalf:
    """One half of a pool, bound to a model of its lineage.

    Attributes:
        half: readings and who saw what, in the model's present rows.
        meter: reads any model the way these members were read.
        utilities: each member's utility on the holdout, ``(M,)``.
        outputs: of each member on each present row, ``(M, N, C)``.
        copies: the like on each row's augmented copies, ``(M, N, K, C)``; ``K`` is 0 where the recipe has none.
        kept: the weights' file of each member that held no row that was erased since; None where there is no such file.
    """

    half: Half
    meter: Meter
    utilities: np.ndarray
    outputs: np.ndarray
    copies: np.ndarray
    kept: tuple[Path | None, ...] = ()

    def held(self, member: int) -> Flags:
        """Which of the present rows a member held, ``(N,)``."""
        if self.half.held is not None:
            return np.asarray(self.half.held[member])
        held = np.zeros(self.outputs.shape[1], dtype=bool)
        for subject, rows in enumerate(self.half.positions):
            held[rows] = self.half.keep[member, subject]
        return held

    def never_outputs(self, part: Part) -> torch.Tensor:
        """Outputs on a part's rows of the members that never saw its subject, ``(n_never, n, C)``."""
        return torch.from_numpy(self.outputs[self._never(part)])

    def never_on_copies(self, part: Part) -> torch.Tensor:
        """The like on the rows' augmented copies, ``(K, n_never, n, C)``."""
        return torch.from_numpy(self.copies[self._never(part)]).movedim(2, 0)

    def _never(self, part: Part) -> tuple[np.ndarray, ...]:
        return np.ix_(~self.half.keep[:, part.subject], part.rows)

    @cached_property
    def thinned(self) -> "ReferenceHalf":
        """The like with fewer holdout rows, where there are many: what a tuner reads a dozen times must be cheap.

        Every model is read on the rows of the request and on the holdout, which is often twenty times as many; how a
        model differs from the members at large is told well by a part of it. Its rows are drawn.

        Returns:
            A half on 256 holdout rows, or this one where there are fewer than twice as many.
        """
        if len(self.meter.holdout.y) < 2 * THINNED:
            return self
        chosen, first = self.meter.few[:THINNED], np.arange(THINNED)
        signals = {
            name: replace(own, holdout=own.holdout[..., chosen if own.units is None else first])
            for name, own in self.half.signals.items()
        }
        holdout = Batch(self.meter.holdout.x[chosen], self.meter.holdout.y[chosen])
        return replace(
            self, half=replace(self.half, signals=signals), meter=replace(self.meter, holdout=holdout, few=first)
        )
