"""Task vector: what training on the forget rows alone adds to the weights is subtracted from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.training import trainable
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class TaskVector:
    """``theta - scale (theta_F - theta)``, with ``theta_F`` the original trained on forget rows (Ilharco et al. 2022).

    "Editing models with task arithmetic" (arXiv 2212.04089, section 3). Of adapters the difference is that of their own
    tensors: to first order it is that of the weights that they add.

    Attributes:
        scale: of the difference.
        epochs: passes over the forget rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    scale: float = 1.0
    epochs: int = 5
    rate: float = 1.0

    name: ClassVar[str] = "task-vector"
    summary: ClassVar[str] = "subtract what more training on the forget rows adds to the weights"
    paper: ClassVar[str] = "Ilharco et al. 2022, arXiv 2212.04089"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.FORGET, Capability.CONTINUED, Capability.TOKENS})
    expected: ClassVar[Expectation] = Expectation(trace=0.4, utility_loss=0.31)  # 40 % below 0 (decision 41)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"scale": Range(0.1, 10), "epochs": Range(1, 10, whole=True)}

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs, and the rows that are read to show the losses."""
        return Passes(steps=training_loop.steps(task, len(task.forget), self.epochs), forwards=2 * task.shown)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy on the forget rows, and step the other way."""
        progress = progress or Silent()
        more = weights.clone(task.model).train()
        losses = training_loop.mean_losses(task, more, task.forget, self.epochs)
        steps = training_loop.steps(task, len(task.forget), self.epochs)
        more = training_loop.trained(task, more, self.rate, losses, progress, "training on the forget rows", steps)
        less = weights.clone(task.model)
        with torch.no_grad():
            for value, further in zip(trainable(less), trainable(more), strict=True):
                value.sub_(further - value, alpha=self.scale)
        task.show(progress, less)
        return less.eval()
