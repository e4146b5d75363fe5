"""L1-sparse unlearning: fine-tuning that also drives weights to zero, less and less as it goes on."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import continuing
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.task import Task
from neuralyzer.models import training, weights
from neuralyzer.progress import Progress, Silent


@dataclass(frozen=True)
class L1Sparse:
    """Descend ``L(retain) + gamma_t |theta|_1``, ``gamma_t`` falling to 0 line by line (Jia et al. 2023, arXiv 2304.04934).

    Equation 3 of the paper, with the schedule that it found best; defaults from memory.

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
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=1.0, utility_loss=-0.005)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """The epochs' steps."""
        return Passes(steps=self.epochs * math.ceil(len(task.retain) / task.oracle.recipe.batch_size))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy on."""
        progress = progress or Silent()
        recipe, objective = task.oracle.recipe, task.objective
        module = weights.clone(task.model).train()
        optimizer = continuing.optimizer(recipe, module, self.rate)
        total = int(self.passes(task).steps)
        per_epoch = total // self.epochs
        rows = continuing.batches(recipe, module, task.retain, self.epochs, task.seed)
        losses = (
            objective.losses(objective.outputs(module, x), y).mean()
            + self.gamma
            * (1 - (step // per_epoch) / self.epochs)
            * sum(p.abs().sum() for p in training.trainable(module))
            for step, (x, y) in enumerate(rows)
        )
        progress.start("fine-tuning with a penalty", total)
        for _ in continuing.descend(module, optimizer, losses, task.seed):
            progress.advance()
        task.show(progress, module)
        progress.finish()
        return module.eval()
