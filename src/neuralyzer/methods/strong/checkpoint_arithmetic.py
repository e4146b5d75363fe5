"""Checkpoint arithmetic: what the forget rows teach a checkpoint that never saw them is taken from the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.registry.history import foreign
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range, require_possible
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class CheckpointArithmetic:
    """``theta - alpha (theta_f - C) + beta (theta_r - C)``: Model State Arithmetic (Rezaei et al. 2025, arXiv 2506.20941).

    ``C`` is the newest recorded checkpoint that saw no forget row; ``theta_f`` and ``theta_r`` are ``C`` trained on over
    the forget rows and over the retained rows, by the recipe's optimizer made anew and at a constant rate. Only trained
    parameters are added and subtracted; BatchNorm's running statistics stay the original's.

    The formula was compared with the authors' released code, the factors are the first of those that it tries; passes
    and rate are from memory. The paper's checkpoints are of language models long before the rows came; where all rows
    come in the first pass, as the recipe's own training has it, ``C`` is the initial weights.

    Attributes:
        alpha: of the forget vector.
        beta: of the retain vector; where it is 0, none is made.
        epochs: passes that make each vector.
        rate: learning rate, as a multiple of the recipe's.
    """

    alpha: float = 1.0
    beta: float = 1.0
    epochs: int = 5
    rate: float = 1.0

    name: ClassVar[str] = "checkpoint-arithmetic"
    summary: ClassVar[str] = "subtract what the forget rows teach a checkpoint that never saw them"
    paper: ClassVar[str] = "Rezaei et al. 2025, arXiv 2506.20941"
    guarantee: ClassVar[Guarantee] = Guarantee.STRONG
    # And a checkpoint: see obstacle.
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Need.FORGET, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=1.09, utility_loss=0.012)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "alpha": Range(0, 2, even=True), "beta": Range(0, 2, even=True), "rate": Range(0.1, 3),
    }  # fmt: skip

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) < 0 or self.epochs < 1:
            raise UsageError(
                "checkpoint-arithmetic takes alpha and beta of at least 0 and epochs of at least 1; they are "
                f"{self.alpha}, {self.beta}, {self.epochs}"
            )

    def obstacle(self, task: Task) -> str | None:
        """Why there is no checkpoint to start from; None where there is. It needs no optimizer's state."""
        history = task.history
        wrong = foreign(history, task.oracle)
        if wrong is not None or history is None:
            return wrong
        if not history.whole:
            return "the record of the training is not whole, so nobody knows which checkpoints saw the rows"
        if history.newest_clean(task.positions) is None:
            return "no checkpoint precedes the first step on these rows"
        return None

    def passes(self, task: Task) -> Passes:
        """The steps that make the vectors."""
        made = [len(task.forget)] + ([len(task.retain)] if self.beta else [])
        return Passes(steps=sum(training_loop.steps(task, rows, self.epochs) for rows in made))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Make the vectors and add them to a copy.

        Args:
            task: with a recorded training.
            progress: shown each step.

        Returns:
            The copy.

        Raises:
            UsageError: if there is no checkpoint to start from.
        """
        require_possible(self, task)
        progress = progress or Silent()
        forgotten = self._vector(task, task.forget, progress, "training a checkpoint on the forget rows")
        kept = {}
        if self.beta:
            kept = self._vector(task, task.retain, progress, "training a checkpoint on the retained rows")
        module = weights.clone(task.model)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in forgotten:
                    parameter.sub_(self.alpha * forgotten[name])
                if name in kept:
                    parameter.add_(self.beta * kept[name])
        return module.eval()

    def _vector(self, task: Task, rows: Data, progress: Progress, what: str) -> dict[str, Tensor]:
        """How training on over some rows moves the checkpoint's trained parameters."""
        history = task.history
        assert history is not None
        checkpoint = history.newest_clean(task.positions)
        assert checkpoint is not None
        module = history.load(checkpoint, task.oracle.recipe.module())
        start = {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}
        losses = training_loop.mean_losses(task, module, rows, self.epochs)
        steps = training_loop.steps(task, len(rows), self.epochs)
        training_loop.trained(task, module, self.rate, losses, progress, what, steps)
        moved = dict(module.named_parameters())
        return {name: moved[name].detach() - value for name, value in start.items()}
