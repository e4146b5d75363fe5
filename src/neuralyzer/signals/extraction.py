"""The signal ``extraction`` (accuracy-based): how much of an answer the model says by itself after its beginning."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.language import EXTRACTION, Memorisation
from neuralyzer.models.reading import outputs
from neuralyzer.signals.signal import Batch, Context, Family, Sample


class Extraction:
    """The share of a text's tokens that greedy decoding adds to its shortest sufficient beginning (arXiv 2012.07805).

    It is the extraction strength of OpenUnlearning (Dorna et al. 2025, arXiv 2506.12618).
    """

    name: ClassVar[str] = "extraction"
    family: ClassVar[Family] = Family.ACCURACY
    per_unit: ClassVar[bool] = False
    optional: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.TOKENS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return the shares, ``(n,)`` and ``(H,)``."""
        return _strength(model, rows, context), _strength(model, holdout, context)


def _strength(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    return outputs(model, Memorisation(), batch.x, context.chunk)[:, EXTRACTION]
