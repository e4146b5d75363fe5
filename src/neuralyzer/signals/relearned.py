"""Relearning-time-based: the margin after a few training steps on other rows of the same subject.

What was hidden rather than forgotten comes back fast, and its neighbours with it.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.errors import NotFiniteError
from neuralyzer.models.reading import called
from neuralyzer.signals.margin import margins
from neuralyzer.signals.signal import Batch, Context, Family, Sample

SMALLEST_UNIT = 8  # rows; half of them are relearned from
HOLDOUT_ROWS = 500
STEPS = 4
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
                each = [margins(_relearn(model, unit, context, rate), unit, context).mean() for model, unit in never]
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
        rate = context.settings[self.name]["rate"]
        found, outside = torch.empty(len(rows)), []
        for first in (0, 1):
            own, other = slice(first, None, 2), slice(1 - first, None, 2)
            again = _relearn(model, Batch(rows.x[other], rows.y[other]), context, rate)
            found[own] = margins(again, Batch(rows.x[own], rows.y[own]), context)
            outside.append(margins(again, holdout, context))
        return found, torch.stack(outside).mean(0)


def _relearn(model: nn.Module, batch: Batch, context: Context, rate: float) -> nn.Module:
    """The model after ``STEPS`` gradient steps on ``batch``, BatchNorm in evaluation mode."""
    model.eval()
    parameters = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if p.requires_grad}
    for _ in range(STEPS):
        given = context.objective.outputs(called(model, parameters), batch.x)
        loss = context.objective.losses(given, batch.y).mean()
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        parameters = {
            name: (value - rate * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
        }
    return called(model, {name: value.detach() for name, value in parameters.items()})
