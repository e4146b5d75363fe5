"""NPO: negative preference optimisation, a bounded form of gradient ascent on the forget rows' likelihood."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.objective import Objective
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.losses import npo
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Npo:
    """Minimise the NPO loss on forget rows plus the mean loss on retained rows.

    Zhang et al. 2024, "Negative Preference Optimization" (arXiv 2404.05868), equation 3 with the retained rows' loss
    of section 2; epochs, rate and beta are those of its experiments on TOFU. The reference is the original: its
    log-probabilities are computed once, one number a row. The retained batches are as many as the forget batches.

    Attributes:
        beta: inverse temperature; gradient ascent is its limit at 0.
        retained: weight of the retained rows' loss.
        epochs: passes over the forget rows.
        rate: learning rate, as a multiple of the recipe's.
    """

    beta: float = 0.1
    retained: float = 1.0
    epochs: int = 10
    rate: float = 1.0

    name: ClassVar[str] = "npo"
    summary: ClassVar[str] = "make the forget rows' texts unlikely, up to a bound, beside retained rows"
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2404.05868"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Capability.CONTINUED, Capability.TOKENS}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.35, utility_loss=0.084)  # 35 % below 0 (decision 41)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"beta": Range(0.01, 1), "rate": Range(0.1, 3)}

    def passes(self, task: Task) -> Passes:
        """Return the steps of its epochs on two batches each, and the readings of the reference and of the losses."""
        steps = training_loop.steps(task, len(task.forget), self.epochs)
        return Passes(steps=2 * steps, forwards=len(task.forget) + self.epochs * task.shown)

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Take the steps from a copy of the original."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass over the forget rows."""
        module = weights.clone(task.model)
        outputs = reading.outputs(task.model, task.objective, task.forget.x)
        reference = _log_probabilities(task.objective, outputs, task.forget.y)
        return training_loop.passes(
            task, module, self.rate, partial(self._losses, task, module, reference), self.epochs, progress,
            "making the texts unlikely", training_loop.steps(task, len(task.forget), self.epochs),
        )  # fmt: skip

    def _losses(self, task: Task, module: nn.Module, reference: Tensor, turn: int) -> Iterator[Tensor]:
        """Compute the losses of a pass over the forget rows; retained rows are drawn anew in each."""
        recipe, objective, seed = task.oracle.recipe, task.objective, training_loop.seed_of(task, turn)
        retained = training_loop.endless_batches(recipe, module, task.retain, seed)
        forget = training_loop.numbered_batches(recipe, module, task.forget, 1, seed)
        for (positions, (x_f, y_f)), (x, y) in zip(forget, retained, strict=False):
            forgotten = _log_probabilities(objective, objective.outputs(module, x_f), y_f)
            kept = objective.losses(objective.outputs(module, x), y).mean()
            yield npo(forgotten, reference[torch.from_numpy(positions)], self.beta) + self.retained * kept


def _log_probabilities(objective: Objective, outputs: Tensor, y: Tensor) -> Tensor:
    """Return the log-probability of each row's text ``(n,)``; ``y`` is the number of its target tokens."""
    return -objective.losses(outputs, y) * y
