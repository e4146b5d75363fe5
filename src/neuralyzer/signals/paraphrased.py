"""The signal ``paraphrased`` (attack-based): the margin of a row's answer after other prompts than the row's own."""

from collections.abc import Collection, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.paraphrases import HOW
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models.capabilities import Capability
from neuralyzer.signals.margin import margins
from neuralyzer.signals.signal import Batch, Context, Family, Sample

NO_PARAPHRASES = f"the signal paraphrased needs paraphrased prompts; {HOW}"


class Paraphrased:
    """The mean margin of a row's answer after the row's paraphrased prompts.

    A method may unlearn the exact wording alone. The prompts come from a file that the person gives. Rows without one,
    such as the holdout's, are read after their own prompt.
    """

    name: ClassVar[str] = "paraphrased"
    family: ClassVar[Family] = Family.ATTACK
    per_unit: ClassVar[bool] = False
    optional: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.TOKENS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return no settings."""
        return {}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return the means, ``(n,)`` and ``(H,)``."""
        return _means(model, rows, context), _means(model, holdout, context)


def _means(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    if context.paraphrases is None:
        raise UsageError(NO_PARAPHRASES)
    x, rows = context.paraphrases.instead_of(batch.x, batch.y)
    read = margins(model, Batch(x, batch.y[rows]), context)
    sums = torch.zeros(len(batch), dtype=read.dtype).index_add(0, rows, read)
    return sums / torch.bincount(rows, minlength=len(batch))


def require_paraphrases(names: Collection[str], data: Data) -> None:
    """Refuse to read rows without paraphrases by this signal.

    Raises:
        UsageError: if it is among the signals ``names``, and no row has a paraphrase.
    """
    if Paraphrased.name in names and data.paraphrases is None:
        raise UsageError(NO_PARAPHRASES)
