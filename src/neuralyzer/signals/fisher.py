"""The signal ``fisher`` (information-based): how little the row would still change the model."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.reading import squared_gradient_norms
from neuralyzer.signals.signal import Batch, Context, Family, Sample

TINY = 1e-30  # keeps the log finite where a gradient vanishes in float32


class Fisher:
    """Minus the log of the trace of the row's Fisher information, which is the squared norm of its loss gradient.

    Becker and Liebig 2022, arXiv 2208.10836: the information that a row carries about the parameters.
    """

    name: ClassVar[str] = "fisher"
    family: ClassVar[Family] = Family.INFORMATION
    per_unit: ClassVar[bool] = False
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.ROW_GRADIENTS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return ``-log |gradient|^2``, ``(n,)`` and ``(H,)``."""
        return _minus_log_norms(model, rows, context), _minus_log_norms(model, holdout, context)


def _minus_log_norms(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    return -(squared_gradient_norms(model, context.objective, batch.x, batch.y) + TINY).log()
