"""Random labels: training on forget rows with labels drawn from the other classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import relabelling, training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class RandomLabel:
    """Train on over retained rows and forget rows with labels drawn from the other classes.

    The baseline of Golatkar et al. 2020 (arXiv 1911.04933); passes and rate are those of Fan et al. 2023 (arXiv
    2310.12508), from memory.

    Attributes:
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 10
    rate: float = 0.1

    name: ClassVar[str] = "random-label"
    summary: ClassVar[str] = "train on with wrong labels for the forget rows"
    paper: ClassVar[str] = "Golatkar et al. 2020, arXiv 1911.04933 (baseline)"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CLASSES, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.54, utility_loss=0.006)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"rate": Range(0.01, 3)}

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs."""
        return Passes(steps=training_loop.steps(task, len(task.oracle.data), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original on."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass."""
        return relabelling.states(task, self.epochs, self.rate, progress)
