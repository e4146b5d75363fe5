"""Repair: fine-tuning on retained rows that stops before it overfits or before the residual trace returns."""

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
    """Rounds of training on retained rows, each kept only if it lowers the loss and no trace returns.

    The defaults were measured in docs/decisions/0012-repair.md; batches are drawn uniformly (0022-uniform-repair.md).

    Attributes:
        rounds: most rounds.
        share: passes over the retained rows in a round.
        rate: learning rate, as a multiple of the recipe's.
        slack: largest growth of the joint z on the tuning split, as a share of its critical value.
        patience: number of rounds in a row without a lower loss after which it stops.
    """

    rounds: int = 3
    share: float = 2.0
    rate: float = 1.0
    slack: float = 0.5
    patience: int = 2

    def passes(self, task: Task) -> Passes:
        """Return the work: its rounds' steps, with the held-back rows and the tuning split read after each."""
        steps = self._steps(task)
        return Passes(
            steps=self.rounds * steps, forwards=(self.rounds + 1) * len(task.held_back), readings=self.rounds + 1
        )

    def _steps(self, task: Task) -> int:
        """Return the training steps of a round."""
        return max(1, math.ceil(self.share * len(task.repairing) / task.oracle.recipe.batch_size))

    def mend(self, model: nn.Module, task: Task, progress: Progress | None = None) -> nn.Module:
        """Repair a copy of ``model``.

        Args:
            model: result of an algorithm.
            task: has retained rows and the tuning split.
            progress: shown each round.

        Returns:
            The state with the lowest loss on held-back retained rows, of those before the joint z on the tuning split
            grew by more than ``slack``; the given model, except for BatchNorm's statistics, where no round lowered
            that loss.
        """
        progress = progress or Silent()
        recipe = training_loop.unscheduled(task.oracle.recipe)
        module = reestimated(weights.clone(model), task)
        optimizer = training_loop.optimizer(recipe, module, self.rate)
        order = iter(_endless(len(task.repairing), recipe.batch_size, task.seed))
        best, loss = weights.clone(module), reading.mean_loss(module, task.objective, task.held_back)
        limit = self._largest_z(module, task)
        failed = 0
        progress.start("repair", self.rounds)
        for turn in range(self.rounds):
            steps = (next(order) for _ in range(self._steps(task)))
            for _ in training.run_steps(recipe, module, optimizer, task.repairing, steps, task.seed + turn):
                pass
            now = reading.mean_loss(module, task.objective, task.held_back)
            progress.advance()
            if not math.isfinite(now) or self._z(module, task) > limit:
                break
            if now < loss:
                best, loss, failed = weights.clone(module), now, 0
                task.show(progress, module)
            elif (failed := failed + 1) >= self.patience:
                break
            if task.time_is_up:
                break
        progress.finish()
        return best.eval()

    def _z(self, module: nn.Module, task: Task) -> float:
        """Return the joint z of a model on the tuning split; 0 where none can be read."""
        joint = task.trace(module).joint if task.traceable else None
        return 0.0 if joint is None else joint.statistic

    def _largest_z(self, module: nn.Module, task: Task) -> float:
        """Return the joint z up to which rounds are kept; infinite where none can be read."""
        joint = task.trace(module).joint if task.traceable else None
        return math.inf if joint is None else joint.statistic + self.slack * joint.critical


def reestimated(module: nn.Module, task: Task) -> nn.Module:
    """Estimate BatchNorm's running statistics anew on retained rows, since those before include the forget rows.

    Args:
        module: changed in place.
        task: has the retained rows.

    Returns:
        ``module``, in evaluation mode where it has such statistics.
    """
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
    """Yield positions of batches, pass after pass without end."""
    turn = 0
    while True:
        yield from training.order(count, 1, batch_size, seed + turn)
        turn += 1
