"""Gradient ascent on the forget rows' loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class GradientAscent:
    """Steps up the forget rows' loss (Thudi et al. 2022, arXiv 2109.13398, section 5, as a baseline).

    Nothing preserves what the model learned from other rows, so that many steps destroy it. From memory.

    Attributes:
        epochs: passes over the forget rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 5
    rate: float = 0.1

    name: ClassVar[str] = "gradient-ascent"
    summary: ClassVar[str] = "step up the forget rows' loss"
    paper: ClassVar[str] = "Thudi et al. 2022, arXiv 2109.13398"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.FORGET, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.86, utility_loss=-0.002)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs, and the rows that are read to show the losses."""
        return Passes(steps=training_loop.steps(task, len(task.forget), self.epochs), forwards=task.shown)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Ascend from a copy of the original."""
        module = weights.clone(task.model).train()
        losses = (-loss for loss in training_loop.mean_losses(task, module, task.forget, self.epochs))
        steps = training_loop.steps(task, len(task.forget), self.epochs)
        return training_loop.trained(task, module, self.rate, losses, progress or Silent(), "ascending", steps)
