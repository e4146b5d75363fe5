"""Checkpoint arithmetic: the change that the forget rows make to a clean checkpoint is subtracted from the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.registry.history import foreign
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range, require_possible
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class CheckpointArithmetic:
    """Model State Arithmetic (Rezaei et al. 2025, arXiv 2506.20941).

    The result is ``theta - alpha (theta_f - C) + beta (theta_r - C)``.

    ``C`` is the newest recorded checkpoint that saw no forget row. ``theta_f`` and ``theta_r`` are ``C`` after further
    training on the forget rows and on the retained rows, by a new optimizer of the recipe at a constant rate. Only
    trained parameters are added and subtracted; BatchNorm's running statistics stay those of the original.

    The formula was compared with the authors' released code. The factors are the first of those that it tries; passes
    and rate are from memory. The paper's checkpoints are of language models, long before the rows were trained on. In
    the recipe's own training all rows come in the first pass, so that ``C`` is the initial weights.

    Attributes:
        alpha: factor of the forget vector.
        beta: factor of the retain vector; where it is 0, the vector is not computed.
        epochs: passes that compute each vector.
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
    # It also needs a checkpoint, but without an optimizer's state, unlike those of Need.CHECKPOINTS: see obstacle.
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
        """Return why there is no checkpoint to start from; None where there is."""
        history = task.history
        reason = foreign(history, task.oracle)
        if reason is not None or history is None:
            return reason
        if not history.whole:
            return "the record of the training is not whole, so nobody knows which checkpoints saw the rows"
        if history.newest_clean(task.positions) is None:
            return "no checkpoint precedes the first step on these rows"
        return None

    def passes(self, task: Task) -> Passes:
        """Return the steps that compute the vectors."""
        counts = [len(task.forget)] + ([len(task.retain)] if self.beta else [])
        return Passes(steps=sum(training_loop.steps(task, rows, self.epochs) for rows in counts))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Compute the vectors, and subtract and add them in a copy.

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
        forget_vector = self._vector(task, task.forget, progress, "training a checkpoint on the forget rows")
        retain_vector = {}
        if self.beta:
            retain_vector = self._vector(task, task.retain, progress, "training a checkpoint on the retained rows")
        module = weights.clone(task.model)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in forget_vector:
                    parameter.sub_(self.alpha * forget_vector[name])
                if name in retain_vector:
                    parameter.add_(self.beta * retain_vector[name])
        return module.eval()

    def _vector(self, task: Task, rows: Data, progress: Progress, what: str) -> dict[str, Tensor]:
        """Return the change of the checkpoint's trained parameters by further training on some rows, by name."""
        history = task.history
        assert history is not None
        checkpoint = history.newest_clean(task.positions)
        assert checkpoint is not None
        module = history.load(checkpoint, task.oracle.recipe.module())
        start = {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}
        losses = training_loop.mean_losses(task, module, rows, self.epochs)
        steps = training_loop.steps(task, len(rows), self.epochs)
        training_loop.trained(task, module, self.rate, losses, progress, what, steps)
        trained = dict(module.named_parameters())
        return {name: trained[name].detach() - value for name, value in start.items()}
