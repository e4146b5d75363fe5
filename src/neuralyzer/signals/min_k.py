"""The signal ``min-k`` (attack-based): how likely the least likely tokens of a text are, by Min-K%++."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from neuralyzer.models.capabilities import Capability
from neuralyzer.models.language import LEAST, Memorisation
from neuralyzer.models.reading import outputs
from neuralyzer.signals.signal import Batch, Context, Family, Sample


class MinK:
    """The mean over the fifth of a text's tokens that the model finds least likely (Min-K%++, arXiv 2404.02936).

    A token's log-probability is standardised by the mean and deviation of those of tokens drawn from the model. Zhang et
    al. 2024: texts that were trained on have few tokens that stand out.
    """

    name: ClassVar[str] = "min-k"
    family: ClassVar[Family] = Family.ATTACK
    per_unit: ClassVar[bool] = False
    optional: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.TOKENS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return the means, ``(n,)`` and ``(H,)``."""
        return _least(model, rows, context), _least(model, holdout, context)


def _least(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    return outputs(model, Memorisation(), batch.x, context.chunk)[:, LEAST]
