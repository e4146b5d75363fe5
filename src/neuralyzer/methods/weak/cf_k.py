"""CF-k: the last layers are trained on over the retained rows, the others stay."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import last_layers, training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class CfK:
    """Catastrophically forget the last ``k`` layers (Goel et al. 2022, arXiv 2201.06640, section 4, from memory).

    Attributes:
        layers: number of layers ``k``.
        epochs: passes over the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    layers: int = 1
    epochs: int = 10
    rate: float = 1.0

    name: ClassVar[str] = "cf-k"
    summary: ClassVar[str] = "train the last layers on over the retained rows"
    paper: ClassVar[str] = "Goel et al. 2022, arXiv 2201.06640"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=1.05, utility_loss=-0.008)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs, in which the last layers alone are trained."""
        return Passes(partial=training_loop.steps(task, len(task.retain), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train the last layers of a copy of the original."""
        module = weights.clone(task.model)
        return last_layers.train_last(module, self.layers, self.epochs, self.rate, task, progress or Silent())
