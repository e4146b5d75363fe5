"""Repair: fine-tuning on retained rows that stops before it overfits or before the residual trace returns."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from neuralyzer.influence.natural_gradient import NaturalGradient
from neuralyzer.models import reading, training, weights
from neuralyzer.models.objective import of_texts
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import matched, training_loop
from neuralyzer.unlearning.batch_statistics import reestimated
from neuralyzer.unlearning.method import Passes, missing_factors, missing_target
from neuralyzer.unlearning.targets import Targets
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Repair:
    """Rounds of training on retained rows, each kept only if it lowers the loss and no trace returns.

    The defaults were measured in docs/decisions/0012-repair.md; batches are drawn uniformly (0022-uniform-repair.md).

    Of language models, where readings are dear, one round of natural gradient steps is taken instead, in which the
    forget rows are matched to members that never saw them (``unlearning.matched``): so no trace returns, and what a
    step left goes.

    Attributes:
        rounds: most rounds.
        share: passes over the retained rows in a round.
        rate: learning rate, as a multiple of the recipe's.
        slack: largest growth of the joint z on the tuning split, as a share of its critical value.
        patience: number of rounds in a row without a lower loss after which it stops.
        texts: passes over the retained rows of a language model, as a share of the recipe's.
    """

    rounds: int = 3
    share: float = 2.0
    rate: float = 1.0
    slack: float = 0.5
    patience: int = 2
    texts: float = 0.05

    def passes(self, task: Task) -> Passes:
        """Return the work: its rounds' steps, with the held-back rows and the tuning split read after each."""
        if self._matches(task):
            return matched.work(task, self._matched_steps(task)) + Passes(
                factorings=missing_factors(task) is None and not task.factors_kept
            )
        steps = self._steps(task)
        return Passes(
            steps=self.rounds * steps, forwards=(self.rounds + 1) * len(task.held_back), readings=self.rounds + 1
        )

    def _matches(self, task: Task) -> bool:
        """Return whether forget rows are matched: of texts, where members say what they should be."""
        return of_texts(task.objective) and missing_target(task) is None

    def _descent(self, task: Task) -> matched.Descent:
        """Return what makes the optimizer of a language model's round; the recipe's where there are no factors."""
        if missing_factors(task) is None:
            return partial(NaturalGradient, factors=task.factors)
        return matched.by_recipe(task)

    def _matched_steps(self, task: Task) -> int:
        """Return the training steps of a language model's round."""
        return math.ceil(self.texts * training_loop.steps(task, len(task.retain), task.oracle.recipe.epochs))

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
        if self._matches(task):
            targets = Targets.of_references(task).with_lead(task, model)
            return matched.finetuned(
                task, model, targets, self._matched_steps(task), self._descent(task), progress, "repair"
            )
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


def _endless(count: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield positions of batches, pass after pass without end."""
    turn = 0
    while True:
        yield from training.order(count, 1, batch_size, seed + turn)
        turn += 1
