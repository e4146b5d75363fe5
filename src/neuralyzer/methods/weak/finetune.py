"""Fine-tuning on the retained rows, which relies on catastrophic forgetting of the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Finetune:
    """Further passes over the retained rows by the recipe's optimizer.

    Attributes:
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 5
    rate: float = 1.0

    name: ClassVar[str] = "finetune"
    summary: ClassVar[str] = "train on over the retained rows"
    paper: ClassVar[str] = "Golatkar et al. 2020, arXiv 1911.04933 (baseline)"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=0.95, utility_loss=-0.003)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"rate": Range(0.1, 10)}

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs."""
        return Passes(steps=training_loop.steps(task, len(task.retain), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original on."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass."""
        module = weights.clone(task.model)
        return training_loop.passes_over(task, module, self.rate, task.retain, self.epochs, progress, "fine-tuning")
