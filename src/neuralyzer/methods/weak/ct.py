"""CT: the kernels of the convolutions are transposed, then the network is trained on."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.models import training, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

OBSTACLE = "ct transposes the square kernels of 2-D convolutions, and this model has none that is trained"


@dataclass(frozen=True)
class Ct:
    """Convolution transpose: the fifth place of the NeurIPS 2023 unlearning challenge (arXiv 2406.09073).

    Every kernel ``K (out, in, k, k)`` of a 2-D convolution is replaced by ``K'`` with ``K'[o, i] = K[o, i]``
    transposed, so that it detects its patterns mirrored along the image's diagonal. Then the network is trained on over
    the retained rows with a rate that falls by a half cosine from pass to pass: 1, 3/4, 1/4 of ``rate`` in three.

    Read from the code of Cadet et al. 2024 (arXiv 2410.01276), who named it and reimplemented the challenge's solution.
    Kernels that are not square are not changed here: transposed they would no longer fit.

    Attributes:
        epochs: passes over the retained rows.
        rate: first learning rate, as a multiple of the recipe's (theirs is 0.001 for SGD, in absolute terms).
    """

    epochs: int = 3
    rate: float = 1.0

    name: ClassVar[str] = "ct"
    summary: ClassVar[str] = "transpose the convolutions' kernels, train on over the retained rows"
    paper: ClassVar[str] = "Triantafillou et al. 2024, arXiv 2406.09073; Cadet et al. 2024, arXiv 2410.01276"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.19, utility_loss=0.038)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"rate": Range(0.03, 3)}

    def __post_init__(self) -> None:
        validation.require(self, epochs=(1, inf), rate=(0, inf))

    def obstacle(self, task: Task) -> str | None:
        """Return why it cannot work; None where it can."""
        return None if kernels(task.model) else OBSTACLE

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs."""
        return Passes(steps=training_loop.steps(task, len(task.retain), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Transpose the kernels of a copy and train it on."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass.

        Args:
            task: has model and rows.
            progress: shown each step.

        Returns:
            A copy after each pass.

        Raises:
            UsageError: if there is no kernel to transpose.
        """
        module = weights.clone(task.model)
        if not kernels(module):
            raise UsageError(OBSTACLE)
        with torch.no_grad():
            for kernel in kernels(module):
                kernel.copy_(kernel.transpose(-1, -2).clone())
        return training_loop.passes_over(
            task, module, self.rate, task.retain, self.epochs, progress, "training transposed kernels",
            schedule=lambda turn: (1 + math.cos(math.pi * turn / self.epochs)) / 2,
        )  # fmt: skip


def kernels(module: nn.Module) -> list[nn.Parameter]:
    """Return the trained kernels of 2-D convolutions that are square and larger than 1 x 1; tied ones once."""
    every = training.weights_of(module, (nn.Conv2d,)).values()
    return [kernel for kernel in every if kernel.shape[-1] == kernel.shape[-2] > 1]
