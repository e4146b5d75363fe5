"""SCRUB: a student that obeys the original on retained rows and leaves it on forget rows; rewound where it goes too far."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.models import reading, weights
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.losses import divergence
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Scrub:
    """Alternate passes up ``KL(original, student)`` on forget rows and down its like, with the loss, on retained rows.

    Kurmanji et al. 2023 (arXiv 2302.09880), equations 1 to 3; the rewind of SCRUB+R takes the pass after which the
    forget rows' error is nearest to the last student's error on holdout rows of the same classes. Equations and defaults
    from memory.

    Attributes:
        epochs: passes over the retained rows.
        ascents: how many of them a pass over the forget rows comes before.
        alpha: weight of the divergence on retained rows.
        gamma: weight of the loss on retained rows.
        rate: learning rate, as a multiple of the recipe's.
        rewind: whether to go back to the pass that the holdout speaks for.
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
        """Steps of both kinds; each reads the original too, which is a third of a step."""
        down = training_loop.steps(task, len(task.retain), self.epochs)
        up = training_loop.steps(task, len(task.forget), self.ascents)
        return Passes(steps=4 / 3 * (down + up), forwards=(self.epochs + 1) * len(task.forget))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Alternate from a copy of the original."""
        kept = list(self.states(task, progress or Silent()))
        return rewound(kept, task) if self.rewind else kept[-1]

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """The student after each pass over the retained rows."""
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
        recipe, objective, seed = task.oracle.recipe, task.objective, training_loop.seed_of(task, turn)
        if turn < self.ascents:
            for x, _ in training_loop.batches(recipe, module, task.forget, 1, seed):
                yield -divergence(reading.outputs(task.model, objective, x), objective.outputs(module, x)).mean()
        for x, y in training_loop.batches(recipe, module, task.retain, 1, seed):
            given = objective.outputs(module, x)
            obeyed = divergence(reading.outputs(task.model, objective, x), given).mean()
            yield self.alpha * obeyed + self.gamma * objective.losses(given, y).mean()


def rewound(students: list[nn.Module], task: Task) -> nn.Module:
    """The student whose forget error is nearest to what the last one errs on holdout rows of the same classes.

    Args:
        students: after each pass.
        task: gives forget rows and holdout; without a holdout the last student is taken.

    Returns:
        One of them.
    """
    if task.oracle.holdout is None:
        return students[-1]
    alike = _alike(task.oracle.holdout, task.forget)
    last = 1 - reading.utility(students[-1], task.objective, alike)
    errors = [1 - reading.utility(student, task.objective, task.forget) for student in students]
    return students[int(np.argmin([abs(error - last) for error in errors]))]


def _alike(holdout: Data, forget: Data) -> Data:
    """Holdout rows in the classes' shares that the forget rows have, as many as there can be."""
    outside, own = holdout.y.reshape(-1).numpy(), torch.cat([y for _, y in forget.chunks(4096)]).reshape(-1).numpy()
    classes, counts = np.unique(own, return_counts=True)
    found = {label: np.flatnonzero(outside == label) for label in classes}
    present = [(label, count) for label, count in zip(classes, counts, strict=True) if len(found[label])]
    if not present:
        return holdout
    times = min(len(found[label]) / count for label, count in present)
    chosen = [found[label][: max(1, round(times * count))] for label, count in present]
    return holdout.select(np.sort(np.concatenate(chosen)))
