"""The signal ``rounded`` (attack-based): the margin of the model with its weights rounded to 4 bits."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.reading import called
from neuralyzer.models.rounding import rounded
from neuralyzer.signals.margin import margins
from neuralyzer.signals.signal import Batch, Context, Family, Sample

BITS = 4  # of a weight; with 8 the model is nearly the same (decision 38)


class Rounded:
    """The margin after rounding to 4 bits, which brought back what was hidden (Zhang et al. 2024, arXiv 2410.16454).

    A method that hides changes the weights by little, and rounding undoes small changes. It takes the weights alone and
    no training: so it is an attack.
    """

    name: ClassVar[str] = "rounded"
    family: ClassVar[Family] = Family.ATTACK
    per_unit: ClassVar[bool] = False
    optional: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.GRADIENTS, Capability.TOKENS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return margins of the rounded model, ``(n,)`` and ``(H,)``."""
        model.eval()
        other = called(model, rounded(model, BITS))
        return margins(other, rows, context), margins(other, holdout, context)
