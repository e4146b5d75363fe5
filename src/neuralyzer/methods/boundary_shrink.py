"""Boundary shrinking: forget rows are given to the class that lies nearest beyond the decision boundary."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.methods import continuing
from neuralyzer.methods.method import Expectation, Need, Passes
from neuralyzer.methods.task import Task
from neuralyzer.models import reading, weights
from neuralyzer.progress import Progress, Silent

CHUNK = 512  # rows


@dataclass(frozen=True)
class BoundaryShrink:
    """Train on over forget rows with the labels that an adversarial step gives them (Chen et al. 2023, arXiv 2303.11570).

    Where the step does not leave the row's class, its second choice is taken. From memory.

    Attributes:
        bound: of the step, in standard deviations of each feature over the training rows.
        epochs: passes over the forget rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    bound: float = 0.5
    epochs: int = 10
    rate: float = 0.01

    name: ClassVar[str] = "boundary-shrink"
    summary: ClassVar[str] = "give forget rows to the class nearest beyond the boundary"
    paper: ClassVar[str] = "Chen et al. 2023, arXiv 2303.11570"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need]] = frozenset({Need.FORGET, Need.CLASSES})
    expected: ClassVar[Expectation] = Expectation(trace=1.0, utility_loss=-0.001)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """The adversarial step, then the epochs' steps."""
        steps = self.epochs * math.ceil(len(task.forget) / task.oracle.recipe.batch_size)
        return Passes(steps=steps, gradients=len(task.forget), forwards=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Relabel, then train a copy on."""
        progress = progress or Silent()
        recipe, objective = task.oracle.recipe, task.objective
        module = weights.clone(task.model).train()
        optimizer = continuing.optimizer(recipe, module, self.rate)
        x, _ = task.oracle.data.gather(task.positions)
        rows = Data.from_arrays(x.numpy(), nearest(task, self.bound).numpy(), ids=task.forget.ids)
        progress.start("shrinking the boundary", self.epochs * math.ceil(len(rows) / recipe.batch_size))
        losses = (
            objective.losses(objective.outputs(module, x), y).mean()
            for x, y in continuing.batches(recipe, module, rows, self.epochs, task.seed)
        )
        for _ in continuing.descend(module, optimizer, losses, task.seed):
            progress.advance()
        task.show(progress, module)
        progress.finish()
        return module.eval()


def nearest(task: Task, bound: float) -> Tensor:
    """The class of each forget row after one step up its loss, ``(F,)``; never its own.

    Args:
        task: gives model and rows.
        bound: of the step, in standard deviations of each feature.

    Returns:
        Class numbers.
    """
    spread = torch.cat([x for x, _ in task.oracle.data.chunks(CHUNK)]).std(0)
    module, found = weights.clone(task.model).eval(), []
    for x, y in task.forget.chunks(CHUNK):
        own = x.clone().requires_grad_()
        loss = task.objective.losses(task.objective.outputs(module, own), y).sum()
        (gradient,) = torch.autograd.grad(loss, own)
        moved = reading.outputs(module, task.objective, x + bound * spread * gradient.sign())
        index = y.reshape(len(y), 1)
        found.append(moved.scatter(1, index, -torch.inf).argmax(1))
    return torch.cat(found)
