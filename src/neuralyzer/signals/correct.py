"""The signal ``correct`` (accuracy-based): how often a model is right on noisy copies; needs labels alone."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import of_texts
from neuralyzer.models.reading import outputs
from neuralyzer.signals.perturbations import noisy
from neuralyzer.signals.signal import Batch, Context, Family, Sample, join

COPIES = 16  # of each row
TARGET = 0.8  # share of right answers of never-seen members under noise
LEAST_HARM = 0.9  # largest share of the accuracy without noise that may be left under noise
SEARCH_COPIES = 4  # of each row while the noise is searched
LARGEST_NOISE = 8.0  # of the search, in features' standard deviations


class Correct:
    """The log-odds of being right over 16 copies (label-only attack, Choquette-Choo et al. 2021, arXiv 2007.14321).

    Without noise the share of right answers saturates at 1. So the noise is set on the tuning split such that members
    that never saw the rows are right four times in five. For regression the mean of the objective's ``correct`` is
    read. Texts are read as they are: the share of their tokens that are right does not saturate.
    """

    name: ClassVar[str] = "correct"
    family: ClassVar[Family] = Family.ACCURACY
    per_unit: ClassVar[bool] = False
    needs: ClassVar[frozenset[Capability]] = frozenset()

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return the noise level, in features' standard deviations, found by bisection on never-seen rows."""
        if of_texts(context.objective):
            return {}
        if not context.objective.counted or not any(sample.never for sample in samples):
            return {"noise": 0.15}
        never = [(sample.model, join(sample.never)) for sample in samples if sample.never]

        def right(noise: float) -> float:
            shares = [_right(model, rows, context, noise, SEARCH_COPIES).mean() for model, rows in never]
            return float(torch.stack(shares).mean())

        # A model that is right less than four times in five without noise still needs noise, or all copies are equal.
        target = min(TARGET, LEAST_HARM * right(0.0))
        low, high = 0.0, LARGEST_NOISE
        for _ in range(12):
            noise = (low + high) / 2
            low, high = (noise, high) if right(noise) > target else (low, noise)
        return {"noise": (low + high) / 2}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return log-odds ``log((k + .5) / (R - k + .5))`` for ``k`` of ``R`` copies right, ``(n,)`` and ``(H,)``."""
        if of_texts(context.objective):
            return _plain(model, rows, context), _plain(model, holdout, context)
        noise = context.settings[self.name]["noise"]
        return _log_odds(model, rows, context, noise), _log_odds(model, holdout, context, noise)


def _right(model: nn.Module, batch: Batch, context: Context, noise: float, count: int) -> Tensor:
    """Return the mean of ``correct`` over copies, ``(n,)``."""
    read = [_plain(model, Batch(copy, batch.y), context) for copy in noisy(batch.x, count, context, noise)]
    return torch.stack(read).mean(0)


def _plain(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    """Return the objective's ``correct`` of each row, ``(n,)``."""
    return context.objective.correct(outputs(model, context.objective, batch.x, context.chunk), batch.y)


def _log_odds(model: nn.Module, batch: Batch, context: Context, noise: float) -> Tensor:
    share = _right(model, batch, context, noise, COPIES)
    if not context.objective.counted:
        return share
    return torch.log((COPIES * share + 0.5) / (COPIES * (1 - share) + 0.5))
