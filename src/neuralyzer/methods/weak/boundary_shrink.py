"""Boundary shrinking: forget rows are given to the class that lies nearest beyond the decision boundary."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.models import reading, weights
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task

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
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.FORGET, Need.CLASSES, Capability.CONTINUED, Capability.INPUT_GRADIENTS}
    )
    expected: ClassVar[Expectation] = Expectation(trace=1.0, utility_loss=-0.001)
    repaired: ClassVar[bool] = False
    for_comparison: ClassVar[bool] = True

    def obstacle(self, task: Task) -> str | None:
        """Why it cannot work; None where it can."""
        real = batches.real(task.forget.gather([0])[0])
        return None if real else "boundary-shrink moves rows along their gradient, and these rows hold whole numbers"

    def passes(self, task: Task) -> Passes:
        """The adversarial step, then the epochs' steps."""
        steps = training_loop.steps(task, len(task.forget), self.epochs)
        return Passes(steps=steps, gradients=len(task.forget), forwards=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Relabel, then train a copy on."""
        module = weights.clone(task.model).train()
        x, _ = task.oracle.data.gather(task.positions)
        rows = Data(ArrayRows(x, nearest(task, self.bound)), ids=task.forget.ids)
        losses = training_loop.mean_losses(task, module, rows, self.epochs)
        steps, what = training_loop.steps(task, len(rows), self.epochs), "shrinking the boundary"
        return training_loop.trained(task, module, self.rate, losses, progress or Silent(), what, steps)


def nearest(task: Task, bound: float) -> Tensor:
    """The class of each forget row after one step up its loss, ``(F,)``; never its own.

    Args:
        task: gives model and rows.
        bound: of the step, in standard deviations of each feature.

    Returns:
        Class numbers.
    """
    spread = torch.cat([batches.features(x) for x, _ in task.oracle.data.chunks(CHUNK)]).std(0)
    module, found = weights.clone(task.model).eval(), []
    for inputs, y in task.forget.chunks(CHUNK):
        x = batches.features(inputs)
        own = x.clone().requires_grad_()
        loss = task.objective.losses(task.objective.outputs(module, own), y).sum()
        (gradient,) = torch.autograd.grad(loss, own)
        moved = reading.outputs(module, task.objective, x + bound * spread * gradient.sign())
        index = y.reshape(len(y), 1)
        found.append(moved.scatter(1, index, -torch.inf).argmax(1))
    return torch.cat(found)
