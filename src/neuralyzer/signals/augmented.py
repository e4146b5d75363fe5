"""The signal ``augmented`` (attack-based): the mean margin over perturbed copies of the row, as in LiRA."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import of_texts
from neuralyzer.signals.margin import margins
from neuralyzer.signals.perturbations import copies
from neuralyzer.signals.signal import Batch, Context, Family, Sample

COPIES = 8  # of each row
TEXT_COPIES = 2  # of each text, whose many tokens are averaged already
NOISE = 0.15  # of a feature's standard deviation, if the recipe has no augmentation


class Augmented:
    """The mean margin over 8 copies, of texts 2 (Carlini et al. 2022, arXiv 2112.03570, section VI.C)."""

    name: ClassVar[str] = "augmented"
    family: ClassVar[Family] = Family.ATTACK
    per_unit: ClassVar[bool] = False
    needs: ClassVar[frozenset[Capability]] = frozenset()

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return mean margins ``(n,)`` and ``(H,)``."""
        return _mean(model, rows, context), _mean(model, holdout, context)


def _mean(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    noise = 0.0 if isinstance(batch.x, Tensor) and batch.x.ndim == 4 else NOISE
    count = TEXT_COPIES if of_texts(context.objective) else COPIES
    read = [margins(model, Batch(copy, batch.y), context) for copy in copies(batch.x, count, context, noise)]
    return torch.stack(read).mean(0)
