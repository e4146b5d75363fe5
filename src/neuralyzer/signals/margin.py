"""The signal ``margin`` (retraining-based): the margin of the row itself, compared with models trained without it."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.reading import outputs
from neuralyzer.signals.signal import Batch, Context, Family, Sample


class Margin:
    """The objective's margin; for classes ``log p_y - log(1 - p_y)`` (Carlini et al. 2022, arXiv 2112.03570)."""

    name: ClassVar[str] = "margin"
    family: ClassVar[Family] = Family.RETRAINING
    per_unit: ClassVar[bool] = False
    needs: ClassVar[frozenset[Capability]] = frozenset()

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return margins ``(n,)`` and ``(H,)``."""
        return margins(model, rows, context), margins(model, holdout, context)


def margins(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    """Return the objective's margin of each row, ``(n,)``."""
    return context.objective.margin(outputs(model, context.objective, batch.x, context.chunk), batch.y)
