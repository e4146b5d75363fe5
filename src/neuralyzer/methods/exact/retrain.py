"""Retraining from scratch on the retained rows: the definition that every other algorithm is measured by."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import training
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Retrain:
    """The recipe on the retained rows: ``A(D minus D_f)``.

    Attributes:
        seed: of the training; the recipe's own where None.
    """

    seed: int | None = None

    name: ClassVar[str] = "retrain"
    summary: ClassVar[str] = "train again on the retained rows alone"
    paper: ClassVar[str] = "Cao and Yang 2015"
    guarantee: ClassVar[Guarantee] = Guarantee.EXACT
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN})
    expected: ClassVar[Expectation] = Expectation(trace=0.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False

    def passes(self, task: Task) -> Passes:
        """Every step of the recipe."""
        return Passes(steps=task.oracle.recipe.epochs * math.ceil(len(task.retain) / task.oracle.recipe.batch_size))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train; the training audit sees each step."""
        recipe = task.oracle.recipe
        if not recipe.stepwise:
            task.training_audit.rows |= set(task.retain.ids.tolist())  # the rows that were handed over, and no others
        watch = task.training_audit.watch(task.retain)
        return training.train(recipe, task.retain, self.seed, progress, watch, task.placement)
