"""Last layer: reset the last linear layer and train it anew on the retained rows."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import training, weights
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class LastLayer:
    """Freeze all but the last linear layer and train that one from fresh weights (Goel et al. 2022, arXiv 2201.06640).

    Attributes:
        epochs: passes over the retained rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    epochs: int = 5
    rate: float = 1.0

    name: ClassVar[str] = "last-layer"
    summary: ClassVar[str] = "reset the last layer and train it on the retained rows"
    paper: ClassVar[str] = "Goel et al. 2022, arXiv 2201.06640"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=1.0, utility_loss=0.01)  # not measured yet: the worst
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """The epochs' steps."""
        return Passes(steps=self.epochs * math.ceil(len(task.retain) / task.oracle.recipe.batch_size))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train the fresh layer on a copy of the original."""
        progress = progress or Silent()
        recipe = training_loop.unscheduled(task.oracle.recipe)
        module = weights.clone(task.model)
        last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)
            last.reset_parameters()
        moving = {id(parameter) for parameter in last.parameters()}
        thawed = [p for p in module.parameters() if p.requires_grad and id(p) not in moving]
        for parameter in thawed:
            parameter.requires_grad_(False)
        optimizer = training_loop.optimizer(recipe, module, self.rate)
        order = training.order(len(task.retain), self.epochs, recipe.batch_size, task.seed)
        progress.start("training the last layer", self.passes(task).steps)
        for _ in training.run_steps(recipe, module, optimizer, task.retain, order, task.seed):
            progress.advance()
        progress.finish()
        for parameter in thawed:
            parameter.requires_grad_(True)
        return module.eval()
