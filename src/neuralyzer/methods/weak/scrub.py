"""SCRUB: a student imitates the original on retained rows and departs from it on forget rows, with rewinding."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.losses import divergence
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Scrub:
    """Alternate ascent of ``KL(original, student)`` on forget rows with descent of it and of the loss on retained rows.

    Kurmanji et al. 2023 (arXiv 2302.09880), equations 1 to 3. The rewinding of SCRUB+R selects the pass after which the
    forget rows' error is nearest to the last student's error on holdout rows of the same classes. Equations and
    defaults from memory.

    Attributes:
        epochs: passes over the retained rows.
        ascents: number of passes over the forget rows; one before each of the first passes over the retained rows.
        alpha: weight of the divergence on retained rows.
        gamma: weight of the loss on retained rows.
        rate: learning rate, as a multiple of the recipe's.
        rewind: whether a pass is selected by the holdout; else the last is taken.
    """

    epochs: int = 5
    ascents: int = 3
    alpha: float = 0.5
    gamma: float = 1.0
    rate: float = 0.5
    rewind: bool = True

    name: ClassVar[str] = "scrub"
    summary: ClassVar[str] = "obey the original on retained rows, leave it on forget rows, rewind"
    paper: ClassVar[str] = "Kurmanji et al. 2023, arXiv 2302.09880"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CLASSES, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.99, utility_loss=-0.006)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "alpha": Range(0.05, 5), "ascents": Range(1, 5, whole=True), "rate": Range(0.05, 3),
    }  # fmt: skip

    def passes(self, task: Task) -> Passes:
        """Return the steps of both kinds; each has a forward pass of the original too, a third of a step."""
        down = training_loop.steps(task, len(task.retain), self.epochs)
        up = training_loop.steps(task, len(task.forget), self.ascents)
        return Passes(steps=4 / 3 * (down + up), forwards=(self.epochs + 1) * len(task.forget))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original and select a pass."""
        students = list(self.states(task, progress or Silent()))
        return rewound(students, task) if self.rewind else students[-1]

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the students after each pass over the retained rows."""
        module = weights.clone(task.model)
        steps = training_loop.steps(task, len(task.retain), self.epochs)
        steps += training_loop.steps(task, len(task.forget), min(self.ascents, self.epochs))
        return training_loop.passes(
            task,
            module,
            self.rate,
            lambda turn: self._losses(task, module, turn),
            self.epochs,
            progress,
            "SCRUB",
            steps,
        )

    def _losses(self, task: Task, module: nn.Module, turn: int) -> Iterator[Tensor]:
        """Compute the losses of a pass, those of the ascent first."""
        recipe, objective, seed = task.oracle.recipe, task.objective, training_loop.seed_of(task, turn)
        if turn < self.ascents:
            for x, _ in training_loop.batches(recipe, module, task.forget, 1, seed):
                yield -divergence(reading.outputs(task.model, objective, x), objective.outputs(module, x)).mean()
        for x, y in training_loop.batches(recipe, module, task.retain, 1, seed):
            outputs = objective.outputs(module, x)
            distillation = divergence(reading.outputs(task.model, objective, x), outputs).mean()
            yield self.alpha * distillation + self.gamma * objective.losses(outputs, y).mean()


def rewound(students: list[nn.Module], task: Task) -> nn.Module:
    """Return the student whose forget error is nearest to the last one's error on holdout rows of the same classes.

    Args:
        students: one after each pass.
        task: has forget rows and holdout; without a holdout the last student is taken.

    Returns:
        One of them.
    """
    if task.oracle.holdout is None:
        return students[-1]
    matched = _matched_holdout(task.oracle.holdout, task.forget)
    target = 1 - reading.utility(students[-1], task.objective, matched)
    errors = [1 - reading.utility(student, task.objective, task.forget) for student in students]
    return students[int(np.argmin([abs(error - target) for error in errors]))]


def _matched_holdout(holdout: Data, forget: Data) -> Data:
    """Return as many holdout rows as possible in the forget rows' shares of classes."""
    labels = holdout.y.reshape(-1).numpy()
    forget_labels = torch.cat([y for _, y in forget.chunks(4096)]).reshape(-1).numpy()
    classes, counts = np.unique(forget_labels, return_counts=True)
    rows = {label: np.flatnonzero(labels == label) for label in classes}
    present = [(label, count) for label, count in zip(classes, counts, strict=True) if len(rows[label])]
    if not present:
        return holdout
    times = min(len(rows[label]) / count for label, count in present)
    chosen = [rows[label][: max(1, round(times * count))] for label, count in present]
    return holdout.select(np.sort(np.concatenate(chosen)))
