"""Retraining from scratch on the retained rows, which defines exact unlearning."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import training
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Retrain:
    """Training by the recipe on the retained rows: ``A(D minus D_f)``.

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
        """Return all steps of the recipe."""
        return Passes(steps=task.oracle.recipe.epochs * math.ceil(len(task.retain) / task.oracle.recipe.batch_size))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a new model; the training audit records each step, or all rows where the user's own code trains."""
        recipe = task.oracle.recipe
        if not recipe.stepwise:
            task.training_audit.rows |= set(task.retain.ids.tolist())  # the user's own code was given these rows alone
        observer = task.training_audit.watch(task.retain)
        return training.train(recipe, task.retain, self.seed, progress, observer, task.placement)
