"""Rewind-to-Delete: return to an earlier checkpoint, descend on the retained rows, then add noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.influence.curvature import Parameters, mean_gradient
from neuralyzer.influence.removal import moved
from neuralyzer.models import training
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.registry.history import Checkpoint
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range, require_possible
from neuralyzer.unlearning.plain_descent import departure
from neuralyzer.unlearning.sensitivity import (
    POWER_ITERATIONS,
    Account,
    largest_gradient_norm,
    largest_hessian_eigenvalue,
)
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Rewind:
    """``theta'_0 = theta_(T-K)``; ``K`` steps ``theta' -= eta grad L_retain(theta')``; ``theta'_K + N(0, sigma^2 I)``.

    Rewind-to-Delete (Mu and Klabjan 2024, arXiv 2409.09778). Of ``T`` recorded steps of full-batch gradient descent the
    last ``K`` are taken again without the forget rows. The losses of ``n`` rows are ``L``-smooth and have gradients of
    norm ``G`` at most. Then retraining without ``m`` of the rows, from the same initial weights, ends within
    ``Delta = (2 m G / (n L)) ((1 + eta L)^(T-K) - 1) (1 + eta L)^K`` of the result. Gaussian noise makes the result and
    a retraining with the same noise ``(epsilon, delta)``-indistinguishable. The noise was derived here
    (``sensitivity.divergence``, ``sensitivity.gaussian``), not read in the paper, whose constant may differ.

    ``obstacle`` checks those assumptions that can be checked; ``assumptions`` lists the others. ``L`` and ``G`` must
    hold along both descents: give proved values, such as ``max |x|^2 / 2`` and ``sqrt 2 max |x|`` for a linear softmax
    model with 1 among its features. Where one is not given, the largest value at the checkpoint and at the original is
    taken, as the paper estimates them too; that is no proof, and ``assumptions`` says so. Weight decay ``d`` is the
    same in both descents and does not move them apart as long as ``eta d <= 1``. Where time runs out, fewer than ``K``
    steps are taken, and the certificate compares with a retraining of as many steps.

    Attributes:
        share: smallest ``K / T``; the newest checkpoint that far back is used. 1 returns to the initial weights, which
            is retraining and needs no noise.
        epsilon: of the certificate.
        delta: of the certificate.
        smoothness: ``L``; measured where None.
        gradient: ``G``; measured where None.
    """

    share: float = 0.5
    epsilon: float = 1.0
    delta: float = 1e-5
    smoothness: float | None = None
    gradient: float | None = None

    name: ClassVar[str] = "rewind"
    summary: ClassVar[str] = "back to an earlier checkpoint, descend on the retained rows, certified noise"
    paper: ClassVar[str] = "Mu and Klabjan 2024, arXiv 2409.09778"
    guarantee: ClassVar[Guarantee] = Guarantee.CERTIFIED
    # It also needs checkpoints, which may have seen forget rows, unlike those of Need.CHECKPOINTS: see obstacle.
    needs: ClassVar[frozenset[Need | Capability]] = frozenset({Need.RETAIN, Capability.CONTINUED})
    expected: ClassVar[Expectation] = Expectation(trace=1.0, utility_loss=0.0)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"share": Range(0.05, 1, even=True)}

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and self.epsilon > 0 and 0 < self.delta < 1):
            raise UsageError(
                "rewind takes share in (0, 1], epsilon above 0 and delta in (0, 1); they are "
                f"{self.share}, {self.epsilon}, {self.delta}"
            )
        if any(value is not None and value < 0 for value in (self.smoothness, self.gradient)):
            raise UsageError(
                f"rewind takes smoothness and gradient of at least 0; they are {self.smoothness}, {self.gradient}"
            )

    def obstacle(self, task: Task) -> str | None:
        """Return why the certificate is not proved for the recorded training; None where nothing was found."""
        reason, history = departure(task), task.history
        if reason is not None or history is None:
            return reason
        if not self._candidates(task):
            return f"no checkpoint lies {math.ceil(self.share * history.steps)} steps before the end"
        return None

    def _candidates(self, task: Task) -> list[Checkpoint]:
        """Return the checkpoints that are far enough back, oldest first."""
        history = task.history
        assert history is not None
        last = history.steps - math.ceil(self.share * history.steps)
        return [checkpoint for checkpoint in history.checkpoints if checkpoint.step <= last]

    def _start(self, task: Task) -> Checkpoint:
        """Return the checkpoint that the descent starts from; refuse a task on which there is none."""
        require_possible(self, task)
        return self._candidates(task)[-1]

    def passes(self, task: Task) -> Passes:
        """Return the work: a gradient of the retained rows for each step, and measuring ``L`` and ``G``."""
        if self.obstacle(task) is not None:
            return Passes()
        assert task.history is not None
        steps, rows = task.history.steps - self._start(task).step, len(task.oracle.data)
        return Passes(gradients=steps * len(task.retain) + 2 * rows, products=2 * POWER_ITERATIONS * rows)

    def account(self, task: Task) -> Account:
        """Return the quantities from which the noise follows.

        Args:
            task: with a recorded training.

        Returns:
            The account.

        Raises:
            UsageError: if the certificate is not proved for the recorded training, or a given constant is exceeded at
                the checkpoint or at the original.
        """
        start, history, recipe, rows = self._start(task), task.history, task.oracle.recipe, task.oracle.data
        assert history is not None
        ends, constants = [history.load(start, recipe.module()), task.model], []
        for name, given, measure in (
            ("smoothness", self.smoothness, largest_hessian_eigenvalue),
            ("gradient", self.gradient, largest_gradient_norm),
        ):
            measured = max(measure(module, task.objective, rows) for module in ends)
            if given is not None and not measured <= given * (1 + 1e-4):  # room for rounding
                raise UsageError(f"rewind was given {name}={given:g}, and at recorded weights it is {measured:.4g}")
            constants.append(measured if given is None else given)
        rate = recipe.optimizer(training.trainable(task.model)).param_groups[0]["lr"]
        smoothness, gradient = constants
        return Account(
            start.step, history.steps - start.step, rate, smoothness, gradient, len(rows), len(task.forget),
            self.epsilon, self.delta,
        )  # fmt: skip

    def assumptions(self, task: Task) -> list[str]:
        """Return the unchecked assumptions of the certificate, a sentence each."""
        account = self.account(task)
        smooth = "No function that the layers call beside themselves has a gradient that jumps, such as relu."
        sentences = [
            "Nobody who looks at the model knows the seed that its noise was drawn with.",
            "What float32 rounds in the recorded and the repeated steps is taken as nothing.",
        ]
        if account.before:
            seen = f"measured at checkpoint {account.before} and at the original; elsewhere it may be larger"
            origins = ["as given" if given is not None else seen for given in (self.smoothness, self.gradient)]
            sentences.append(f"The loss is smooth with constant L = {account.smoothness:.4g}, {origins[0]}.")
            sentences.append(f"No row's gradient is longer than G = {account.gradient:.4g}, {origins[1]}.")
            sentences.append(smooth)
        if task.oracle.recipe.init is not None:
            sentences.append("The pretrained weights that training started from never saw the forget rows.")
        return sentences

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Load the checkpoint, descend on the retained rows and add the noise.

        Args:
            task: with a recorded training.
            progress: shown each step.

        Returns:
            A new module.

        Raises:
            UsageError: if the certificate is not proved for the recorded training, or the noise would be infinite.
        """
        account, start, progress = self.account(task), self._start(task), progress or Silent()
        assert task.history is not None
        module = task.history.load(start, task.oracle.recipe.module())
        decay = task.oracle.recipe.optimizer(training.trainable(module)).param_groups[0]["weight_decay"]
        progress.start("descending on the retained rows", account.after)
        taken = 0
        while taken < account.after:
            module = moved(module, -account.rate * mean_gradient(module, task.objective, task.retain, decay))
            taken += 1
            progress.advance()
            if task.time_is_up:
                break
        progress.finish()
        sigma = replace(account, after=taken).sigma
        if not math.isfinite(sigma):
            raise UsageError("rewind's noise would be infinite: go further back (share), or train at a smaller rate")
        generator = torch.Generator().manual_seed(task.seed)
        noise = torch.randn(sum(Parameters(module).sizes), generator=generator)
        return moved(module, sigma * noise)
