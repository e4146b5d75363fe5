"""Fine-tuning on the retained rows: what a network forgets when it is not reminded."""

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
class Finetune:
    """A few more passes over the retained rows, by the recipe's optimizer.

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
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=0.95, utility_loss=-0.003)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """The epochs' steps, and the losses shown after each."""
        steps = continuing.steps(task, len(task.retain), self.epochs)
        return Passes(steps=steps)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train on from a copy of the original."""
        progress = progress or Silent()
        recipe = task.oracle.recipe
        module = weights.clone(task.model)
        optimizer = continuing.optimizer(recipe, module, self.rate)
        order = list(training.order(len(task.retain), self.epochs, recipe.batch_size, task.seed))
        per_epoch = math.ceil(len(order) / self.epochs)
        progress.start("fine-tuning", self.epochs)
        for step, _ in enumerate(
            training.run_steps(continuing.unscheduled(recipe), module, optimizer, task.retain, iter(order), task.seed)
        ):
            if (step + 1) % per_epoch == 0:
                task.show(progress, module)
                module.train()
                progress.advance()
        progress.finish()
        return module.eval()
