"""Bad teaching: a student is distilled from the original on retained rows, from an untrained network on forget rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.losses import divergence
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class BadTeacher:
    """``(1 - l) KL(good, student) + l KL(bad, student)``, ``l`` 1 on forget rows, else 0 (Chundawat et al. 2022).

    The good teacher is the original, the bad one an untrained network. The student is trained on the forget rows and a
    share of the retained rows. arXiv 2205.08096; equation and defaults from memory.

    Attributes:
        share: share of the retained rows that is trained on.
        epochs: passes over both.
        rate: learning rate, as a multiple of the recipe's.
    """

    share: float = 0.3
    epochs: int = 1
    rate: float = 0.1

    name: ClassVar[str] = "bad-teacher"
    summary: ClassVar[str] = "follow an untrained network on forget rows and the original elsewhere"
    paper: ClassVar[str] = "Chundawat et al. 2022, arXiv 2205.08096"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.CLASSES, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.95, utility_loss=-0.001)
    repaired: ClassVar[bool] = False

    def _rows(self, task: Task) -> int:
        """Return the number of rows of a pass."""
        return len(task.forget) + round(self.share * len(task.retain))

    def passes(self, task: Task) -> Passes:
        """Return the work: the epochs' steps, each with a forward pass of both teachers, two thirds of a step."""
        return Passes(steps=5 / 3 * training_loop.steps(task, self._rows(task), self.epochs))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original."""
        module = weights.clone(task.model).train()
        losses, steps = self._losses(task, module), training_loop.steps(task, self._rows(task), self.epochs)
        return training_loop.trained(task, module, self.rate, losses, progress or Silent(), "teaching", steps)

    def _losses(self, task: Task, module: nn.Module) -> Iterator[Tensor]:
        """Compute the loss of each batch."""
        objective, recipe = task.objective, task.oracle.recipe
        bad = training_loop.fresh(task).eval()
        retained = np.setdiff1d(np.arange(len(task.oracle.data)), task.positions)
        sample = np.random.default_rng(task.seed).permutation(retained)[: round(self.share * len(retained))]
        rows = task.oracle.data.select(np.sort(np.concatenate([task.positions, sample])))
        is_forget = torch.from_numpy(np.isin(rows.ids, task.forget.ids))
        for positions, (x, _) in training_loop.numbered_batches(recipe, module, rows, self.epochs, task.seed):
            from_original, from_bad = (reading.outputs(teacher, objective, x) for teacher in (task.model, bad))
            teacher = torch.where(is_forget[positions][:, None], from_bad, from_original)
            yield divergence(teacher, objective.outputs(module, x)).mean()
