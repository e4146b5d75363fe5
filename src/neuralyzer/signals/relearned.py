"""Relearning-time-based: the margin after a few training steps on other rows of the same subject.

What was hidden rather than forgotten comes back fast, and its neighbours with it.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.errors import NotFiniteError
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.signals.margin import margins
from neuralyzer.signals.relearning import margins_after, relearn
from neuralyzer.signals.signal import Batch, Context, Family, Sample

SMALLEST_UNIT = 8  # rows; half of them are relearned from
HOLDOUT_ROWS = 500
RATES = tuple(10 ** (k / 4) for k in range(-16, 5))  # 1e-4 to 10


class Relearned:
    """Margin on one half of a subject's rows after 4 gradient steps on the other half, and the other way round.

    The rate is the smallest with which tuning members that never saw a subject come, on the rows relearned from,
    half-way from their own mean margin to that of the members that saw it.
    """

    name: ClassVar[str] = "relearned"
    family: ClassVar[Family] = Family.RELEARNING
    per_unit: ClassVar[bool] = True
    needs_weights: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.GRADIENTS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """The rate of the steps."""
        seen = [
            margins(s.model, unit, context).mean() for s in samples for unit in s.seen if len(unit) >= SMALLEST_UNIT
        ]
        never = [(s.model, unit) for s in samples for unit in s.never if len(unit) >= SMALLEST_UNIT]
        if not seen or not never:
            return {"rate": RATES[0]}
        start = torch.stack([margins(model, unit, context).mean() for model, unit in never]).mean()
        target = float(start + torch.stack(seen).mean()) / 2
        nearest, highest = RATES[0], -math.inf
        for rate in RATES:
            try:
                each = [margins(relearn(model, unit, context, rate), unit, context).mean() for model, unit in never]
            except NotFiniteError:
                break  # so large a step diverges: a rate that came nearest has to do
            reached = float(torch.stack(each).mean())
            if reached >= target:
                return {"rate": rate}
            if reached > highest:
                nearest, highest = rate, reached
        return {"rate": nearest}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Margins on each half after relearning the other, ``(n,)``; on the holdout the mean of both, ``(H,)``."""
        return self.measure_units(model, [rows], holdout, context)[0]

    def measure_units(
        self, model: nn.Module, units: Sequence[Batch], holdout: Batch, context: Context
    ) -> list[tuple[Tensor, Tensor]]:
        """What ``measure`` gives, of many subjects: small models are relearned side by side."""
        halves = [half for unit in units for half in (_every_other(unit, 0), _every_other(unit, 1))]
        pairs = [(halves[place ^ 1], half) for place, half in enumerate(halves)]
        read = margins_after(model, pairs, holdout, context, context.settings[self.name]["rate"])
        found = []
        for unit, (even, outside), (odd, beyond) in zip(units, read[::2], read[1::2], strict=True):
            own = torch.empty(len(unit))
            own[::2], own[1::2] = even, odd
            found.append((own, (outside + beyond) / 2))
        return found


def _every_other(batch: Batch, first: int) -> Batch:
    return batch.take(slice(first, None, 2))
