"""EU-k: the last layers are initialised anew and trained on the retained rows, the others stay."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import last_layers, training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class EuK:
    """Exactly unlearn the last ``k`` layers (Goel et al. 2022, arXiv 2201.06640, section 4).

    What the other layers learned from the forget rows stays. From memory.

    Attributes:
        layers: number of layers ``k``.
        epochs: passes over the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    layers: int = 1
    epochs: int = 10
    rate: float = 1.0

    name: ClassVar[str] = "eu-k"
    summary: ClassVar[str] = "draw the last layers anew and train them on the retained rows"
    paper: ClassVar[str] = "Goel et al. 2022, arXiv 2201.06640"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.59, utility_loss=-0.008)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs, in which the last layers alone are trained."""
        return Passes(partial=training_loop.steps(task, len(task.retain), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Initialise and train the last layers of a copy of the original."""
        module = weights.clone(task.model)
        fresh = dict(training_loop.fresh(task).named_parameters())
        named = dict(module.named_parameters())
        with torch.no_grad():
            for name in last_layers.chosen(task, self.layers):
                named[name].copy_(fresh[name])
        return last_layers.train_last(module, self.layers, self.epochs, self.rate, task, progress or Silent())
