"""The signal ``relearned`` (relearning-based): the margin after a few steps on other rows of the same subject.

If a method hid the rows rather than forgot them, training on some of them brings back the others too.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import Objective, of_texts
from neuralyzer.signals.margin import margins
from neuralyzer.signals.relearning import RATES, margins_after, relearn, smallest_rate
from neuralyzer.signals.signal import Batch, Context, Family, Sample

SMALLEST_UNIT = 8  # rows of a subject, half of which are trained on
HOLDOUT_ROWS = 500  # largest number of holdout rows that are read for each subject
HOLDOUT_TEXTS = 50  # the same of texts: their margins are means over many tokens, and vary less
TEXT_PAIRS = 8  # of a member and a subject that it never saw, by which the rate is found for texts


class Relearned:
    """The margin on one half of a subject's rows after 4 gradient steps on the other half, and the other way round.

    The learning rate is found on the tuning split (decision 6). It is the smallest by which members that never saw a
    subject reach, on the rows that they are trained on, the middle between their own mean margin and that of the
    members that saw it.
    """

    name: ClassVar[str] = "relearned"
    family: ClassVar[Family] = Family.RELEARNING
    per_unit: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.GRADIENTS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return the learning rate of the steps."""
        seen = [
            margins(s.model, unit, context).mean() for s in samples for unit in s.seen if len(unit) >= SMALLEST_UNIT
        ]
        never = [(s.model, unit) for s in samples for unit in s.never if len(unit) >= SMALLEST_UNIT]
        if not seen or not never:
            return {"rate": RATES[0]}
        if of_texts(context.objective):
            never = never[:: -(-len(never) // TEXT_PAIRS)]
        start = torch.stack([margins(model, unit, context).mean() for model, unit in never]).mean()
        target = float(start + torch.stack(seen).mean()) / 2

        def reached(rate: float) -> float:
            each = [margins(relearn(model, unit, context, rate), unit, context).mean() for model, unit in never]
            return float(torch.stack(each).mean())

        return {"rate": smallest_rate(reached, target)}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return margins on each half after relearning the other, ``(n,)``; on the holdout their mean, ``(H,)``."""
        return self.measure_units(model, [rows], holdout, context)[0]

    def measure_units(
        self, model: nn.Module, units: Sequence[Batch], holdout: Batch, context: Context
    ) -> list[tuple[Tensor, Tensor]]:
        """Return what ``measure`` does, for many subjects; copies of a small model are trained in a stack."""
        halves = [half for unit in units for half in (_every_other(unit, 0), _every_other(unit, 1))]
        pairs = [(halves[place ^ 1], half) for place, half in enumerate(halves)]
        margins_of = margins_after(model, pairs, holdout, context, context.settings[self.name]["rate"])
        readings = []
        for unit, (even_rows, first), (odd_rows, second) in zip(units, margins_of[::2], margins_of[1::2], strict=True):
            on_rows = torch.empty(len(unit))
            on_rows[::2], on_rows[1::2] = even_rows, odd_rows
            readings.append((on_rows, (first + second) / 2))
        return readings


def holdout_rows(objective: Objective) -> int:
    """Return how many holdout rows are read at most for each subject."""
    return HOLDOUT_TEXTS if of_texts(objective) else HOLDOUT_ROWS


def _every_other(batch: Batch, first: int) -> Batch:
    """Return every second row, beginning with ``first``."""
    return batch.take(slice(first, None, 2))
