"""L1-sparse unlearning: fine-tuning with an L1 penalty that falls to zero."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import training, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class L1Sparse:
    """Descend ``L(retain) + gamma_t |theta|_1`` with ``gamma_t`` falling linearly to 0 (Jia et al. 2023).

    Equation 3 of arXiv 2304.04934, with the schedule that the paper found best; defaults from memory.

    Attributes:
        gamma: weight of the penalty at the start.
        epochs: passes over the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    gamma: float = 5e-4
    epochs: int = 10
    rate: float = 1.0

    name: ClassVar[str] = "l1-sparse"
    summary: ClassVar[str] = "train on over the retained rows, small weights driven to zero"
    paper: ClassVar[str] = "Jia et al. 2023, arXiv 2304.04934"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.47, utility_loss=-0.015)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs."""
        return Passes(steps=training_loop.steps(task, len(task.retain), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original on."""
        module = weights.clone(task.model).train()
        per_epoch, total = (training_loop.steps(task, len(task.retain), epochs) for epochs in (1, self.epochs))
        losses = (
            loss
            + self.gamma
            * (1 - (step // per_epoch) / self.epochs)
            * sum(p.abs().sum() for p in training.trainable(module))
            for step, loss in enumerate(training_loop.mean_losses(task, module, task.retain, self.epochs))
        )
        progress, what = progress or Silent(), "fine-tuning with a penalty"
        return training_loop.trained(task, module, self.rate, losses, progress, what, total)
