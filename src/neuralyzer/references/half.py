"""One half of a pool: what its members read, and what reads a model the same way."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from neuralyzer.references.measuring import Meter
from neuralyzer.references.readings import Half, Part
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
    """

    half: Half
    meter: Meter
    utilities: np.ndarray
    outputs: np.ndarray

    def never_outputs(self, part: Part) -> torch.Tensor:
        """Outputs on a part's rows of the members that never saw its subject, ``(n_never, n, C)``."""
        never = ~self.half.keep[:, part.subject]
        return torch.from_numpy(self.outputs[never][:, part.rows])

    @cached_property
    def thinned(self) -> "ReferenceHalf":
        """The like with fewer holdout rows, where there are many: what a tuner reads a dozen times must be cheap.

        Every model is read on the rows of the request and on the holdout, which is often twenty times as many; how a
        model differs from the members at large is told well by a part of it. The first rows are as good as any.

        Returns:
            A half on the first 256 holdout rows, or this one where there are fewer than twice as many.
        """
        if len(self.meter.holdout.y) < 2 * THINNED:
            return self
        signals = {name: replace(own, holdout=own.holdout[..., :THINNED]) for name, own in self.half.signals.items()}
        holdout = Batch(self.meter.holdout.x[:THINNED], self.meter.holdout.y[:THINNED])
        return replace(self, half=replace(self.half, signals=signals), meter=replace(self.meter, holdout=holdout))
