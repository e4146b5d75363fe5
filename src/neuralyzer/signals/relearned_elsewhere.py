"""The signal ``relearned-elsewhere`` (attack-based): the margin after a few steps on texts of other people.

Training on text that has nothing to do with what was to be forgotten can bring it back too, where it was hidden (Hu et
al. 2024, arXiv 2406.13356).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.errors import UsageError
from neuralyzer.models.capabilities import Capability
from neuralyzer.signals.margin import margins
from neuralyzer.signals.relearning import RATES, relearn, smallest_rate
from neuralyzer.signals.signal import Batch, Context, Family, Sample

TEXTS = 32  # of the holdout, that are trained on
LONGER = 16  # steps; the 4 by which the rate is found bring back about half as much (decision 38)


class RelearnedElsewhere:
    """The margin after 16 gradient steps on 32 texts of the holdout, the same for all models and subjects.

    The learning rate is found on the tuning split. It is the smallest by which members reach in 4 steps, on the texts
    that they are trained on, the middle between their own mean margin there and that of members on rows that they saw.

    It stands among the attacks, not beside ``relearned``: what it brings back depends on base and method, so that a
    verdict must not take it for the relearning that it asks for (decision 38).
    """

    name: ClassVar[str] = "relearned-elsewhere"
    family: ClassVar[Family] = Family.ATTACK
    per_unit: ClassVar[bool] = False
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.GRADIENTS, Capability.TOKENS})

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return the learning rate of the steps."""
        texts = context.elsewhere
        seen = [margins(s.model, unit, context).mean() for s in samples for unit in s.seen]
        if not seen or texts is None:
            return {"rate": RATES[0]}
        start = torch.stack([margins(s.model, texts, context).mean() for s in samples]).mean()
        target = float(start + torch.stack(seen).mean()) / 2

        def reached(rate: float) -> float:
            each = [margins(relearn(s.model, texts, context, rate), texts, context).mean() for s in samples]
            return float(torch.stack(each).mean())

        return {"rate": smallest_rate(reached, target)}

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Return margins after the steps, ``(n,)`` and ``(H,)``.

        Raises:
            UsageError: if the context has no texts to train on.
        """
        if context.elsewhere is None:
            raise UsageError(f"{self.name} trains on texts of a holdout, and none was given")
        rate = context.settings[self.name]["rate"]
        relearned = relearn(model, context.elsewhere, context, rate, LONGER)
        return margins(relearned, rows, context), margins(relearned, holdout, context)


def elsewhere(holdout: Batch, seed: int) -> Batch:
    """Return the rows of the holdout that are trained on: 32, drawn by the seed, fewer where it has fewer."""
    return holdout.take(np.random.default_rng([seed, TEXTS]).permutation(len(holdout))[:TEXTS])
