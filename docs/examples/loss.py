"""Attack-based: the row's loss, the first membership attack."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.reading import outputs
from neuralyzer.signals.signal import Batch, Context, Family, Sample

TINY = 1e-12  # keeps the logarithm finite where a loss vanishes


class Loss:
    """Minus the logarithm of the row's loss (Yeom et al. 2018, arXiv 1709.01604): a plain loss crowds at 0."""

    name: ClassVar[str] = "loss"
    family: ClassVar[Family] = Family.ATTACK
    per_unit: ClassVar[bool] = False
    needs: ClassVar[frozenset[Capability]] = frozenset()

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Nothing to set."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Readings ``(n,)`` and ``(H,)``."""
        return _reading(model, rows, context), _reading(model, holdout, context)


def _reading(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    given = outputs(model, context.objective, batch.x, context.chunk)
    return -(context.objective.losses(given, batch.y) + TINY).log()
