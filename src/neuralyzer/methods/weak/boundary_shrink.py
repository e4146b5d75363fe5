"""Boundary shrinking: training on forget rows with the label of the class nearest beyond the decision boundary."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task

CHUNK = 512  # rows that are read at once; limits memory


@dataclass(frozen=True)
class BoundaryShrink:
    """Train on over forget rows with the labels predicted after an adversarial step (Chen et al. 2023).

    Where the step does not leave the row's class, the second most likely class is taken. arXiv 2303.11570, from memory.

    Attributes:
        bound: size of the step, in standard deviations of each feature over the training rows.
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
        """Return why it cannot work; None where it can."""
        real = batches.real(task.forget.gather([0])[0])
        return None if real else "boundary-shrink moves rows along their gradient, and these rows hold whole numbers"

    def passes(self, task: Task) -> Passes:
        """Return the work: the adversarial step, then the epochs' steps."""
        steps = training_loop.steps(task, len(task.forget), self.epochs)
        return Passes(steps=steps, gradients=len(task.forget), forwards=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Relabel the forget rows, then train a copy of the original on them."""
        module = weights.clone(task.model).train()
        x, _ = task.oracle.data.gather(task.positions)
        rows = Data(ArrayRows(x, nearest(task, self.bound)), ids=task.forget.ids)
        losses = training_loop.mean_losses(task, module, rows, self.epochs)
        steps, what = training_loop.steps(task, len(rows), self.epochs), "shrinking the boundary"
        return training_loop.trained(task, module, self.rate, losses, progress or Silent(), what, steps)


def nearest(task: Task, bound: float) -> Tensor:
    """Return the class of each forget row after one step up its loss, other than its own class.

    Args:
        task: has model and rows.
        bound: size of the step, in standard deviations of each feature.

    Returns:
        Class numbers ``(F,)``.
    """
    deviations = torch.cat([batches.features(x) for x, _ in task.oracle.data.chunks(CHUNK)]).std(0)
    module, classes = weights.clone(task.model).eval(), []
    for inputs, y in task.forget.chunks(CHUNK):
        x = batches.features(inputs)
        leaf = x.clone().requires_grad_()
        loss = task.objective.losses(task.objective.outputs(module, leaf), y).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        outputs = reading.outputs(module, task.objective, x + bound * deviations * gradient.sign())
        index = y.reshape(len(y), 1)
        classes.append(outputs.scatter(1, index, -torch.inf).argmax(1))
    return torch.cat(classes)
