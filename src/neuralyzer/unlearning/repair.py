"""Repair: fine-tuning on retained rows that stops before it overfits and never brings the trace back."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from neuralyzer.models import reading, training, weights
from neuralyzer.models.calling import call
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Repair:
    """Rounds of steps on retained rows; each is kept only if it helps and the tuning split sees no trace come back.

    Attributes:
        rounds: most rounds.
        share: passes over the retained rows that a round takes.
        rate: learning rate, as a multiple of the recipe's.
        slack: how much the joint z on the tuning split may grow, as a share of its critical value.
        patience: rounds in a row that may fail to lower the loss before it stops.
    """

    rounds: int = 3
    share: float = 2.0
    rate: float = 1.0
    slack: float = 0.5
    patience: int = 2

    def passes(self, task: Task) -> Passes:
        """Its rounds' steps, with the held-back rows and the tuning split read after each."""
        steps = self._steps(task)
        return Passes(
            steps=self.rounds * steps, forwards=(self.rounds + 1) * len(task.held_back), readings=self.rounds + 1
        )

    def _steps(self, task: Task) -> int:
        return max(1, math.ceil(self.share * len(task.repairing) / task.oracle.recipe.batch_size))

    def mend(self, model: nn.Module, task: Task, progress: Progress | None = None) -> nn.Module:
        """Repair a copy of ``model``.

        Args:
            model: what an algorithm left.
            task: gives retained rows and the tuning split.
            progress: shown each round.

        Returns:
            The state with the lowest loss on retained rows held back among those before the joint z on the tuning
            half left the slack; ``model`` itself where no round lowered that loss.
        """
        progress = progress or Silent()
        recipe = training_loop.unscheduled(task.oracle.recipe)
        module = reestimated(weights.clone(model), task)
        optimizer = training_loop.optimizer(recipe, module, self.rate)
        order = iter(_endless(len(task.repairing), recipe.batch_size, task.seed))
        kept, loss = weights.clone(module), reading.mean_loss(module, task.objective, task.held_back)
        allowed = self._allowed(module, task)
        waited = 0
        progress.start("repair", self.rounds)
        for turn in range(self.rounds):
            steps = (next(order) for _ in range(self._steps(task)))
            for _ in training.run_steps(recipe, module, optimizer, task.repairing, steps, task.seed + turn):
                pass
            now = reading.mean_loss(module, task.objective, task.held_back)
            progress.advance()
            if not math.isfinite(now) or self._z(module, task) > allowed:
                break
            if now < loss:
                kept, loss, waited = weights.clone(module), now, 0
                task.show(progress, module)
            elif (waited := waited + 1) >= self.patience:
                break
            if task.time_is_up:
                break
        progress.finish()
        return kept.eval()

    def _z(self, module: nn.Module, task: Task) -> float:
        joint = task.trace(module).joint if task.traceable else None
        return 0.0 if joint is None else joint.statistic

    def _allowed(self, module: nn.Module, task: Task) -> float:
        joint = task.trace(module).joint if task.traceable else None
        return math.inf if joint is None else joint.statistic + self.slack * joint.critical


def reestimated(module: nn.Module, task: Task) -> nn.Module:
    """Estimate running statistics anew on retained rows: BatchNorm's buffers hold the forgotten rows too."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    norms = [layer for layer in norms if layer.track_running_stats]
    if not norms:
        return module
    momenta = [layer.momentum for layer in norms]
    module.eval()
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over all batches
        layer.train()
    with torch.no_grad():
        for x, y in task.retain.chunks(task.oracle.recipe.batch_size):
            if len(y) > 1:
                call(module, x)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return module.eval()


def _endless(count: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    turn = 0
    while True:
        yield from training.order(count, 1, batch_size, seed + turn)
        turn += 1
