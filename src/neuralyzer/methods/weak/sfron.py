"""SFR-on: ascent on forget rows, on the parameters that are more important for them, and descent on retained rows."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data.request import Guarantee
from neuralyzer.influence.diagonal import importances
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

SMALLEST_IMPORTANCE = 1e-15  # added to each importance, so that a ratio of zeros is 1; chosen, not tuned
SMALLEST_LOSS = 1e-7  # smaller losses are raised to it: in single precision they are rounding


@dataclass(frozen=True)
class Sfron:
    """Saliency forgetting in the remain-preserving manifold, online (Huang et al. 2024, arXiv 2409.19732).

    Every ``every`` steps the fast parameters take a step up ``alpha_t sum_i e_i l_i`` on forget rows, with the adaptive
    coefficients ``e_i = l_i^-lambda / sum_j l_j^-lambda``. The step is restricted to the mask ``m = [F_forget /
    F_retain >= gamma]``, with ``F`` the diagonal of the empirical Fisher matrix at the original, and clipped to
    ``norm``. Each step ends with a step down the retained rows' loss, which returns the parameters to the manifold that
    preserves these rows, in place of a multiplication by the inverse Hessian. Then the slow parameters follow: ``theta
    <- theta + beta (fast - theta)``. ``alpha_t`` and the rate fall together by a half cosine over all steps.

    Read from the authors' code; the derivation from memory. For ``F`` their code squares the gradients of whole
    batches; here those of single rows are squared, as the paper defines it.

    Attributes:
        alpha: ``alpha_0``, weight of the ascent (the authors' for CIFAR-10).
        exponent: ``lambda``.
        threshold: ``gamma``.
        every: steps on retained rows for each on forget rows.
        norm: largest norm of the ascent's gradient.
        beta: rate at which the slow parameters follow the fast ones.
        epochs: passes over the retained rows (the authors take 1500 steps, 4 passes).
        rate: first learning rate, as a multiple of the recipe's (the authors' is 0.01, with 0.1 in training).
    """

    alpha: float = 25.0
    exponent: float = 0.5
    threshold: float = 1.0
    every: int = 5
    norm: float = 7.0
    beta: float = 1.0
    epochs: int = 4
    rate: float = 0.1

    name: ClassVar[str] = "sfron"
    summary: ClassVar[str] = "ascend on forget rows where they matter more than retained ones, descend on these"
    paper: ClassVar[str] = "Huang et al. 2024, arXiv 2409.19732"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Capability.GRADIENTS, Capability.ROW_GRADIENTS, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.75, utility_loss=0.0)
    repaired: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "alpha": Range(0.1, 300), "threshold": Range(0.1, 10), "rate": Range(0.01, 3),
    }  # fmt: skip

    def __post_init__(self) -> None:
        validation.require(
            self, alpha=(0, inf), exponent=(0, inf), threshold=(0, inf), every=(1, inf), norm=(0, inf), beta=(0, 1),
            epochs=(1, inf), rate=(0, inf),
        )  # fmt: skip

    def passes(self, task: Task) -> Passes:
        """Return the work: gradients of all rows, then the steps on retained and on forget rows."""
        return Passes(steps=self._steps(task), singles=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Train a copy of the original by alternating steps."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """Return the models after each pass over the retained rows."""
        steps = _AlternatingSteps(self, task, salient(task, self.threshold))
        return training_loop.passes(
            task, steps.module, steps.optimizer, steps.losses, self.epochs, progress, "ascending and descending",
            self._steps(task), steps.follow,
        )  # fmt: skip

    def _steps(self, task: Task) -> int:
        """Return the number of steps of both kinds."""
        retain_steps = training_loop.steps(task, len(task.retain), self.epochs)
        return retain_steps + math.ceil(retain_steps / self.every)


def salient(task: Task, threshold: float) -> dict[str, Tensor]:
    """Return which parameters are at least ``threshold`` times as important for forget rows as for retained ones."""
    forget = importances(task.model, task.objective, task.forget)
    retain = importances(task.model, task.objective, task.retain)
    return {
        name: (importance + SMALLEST_IMPORTANCE) / (retain[name] + SMALLEST_IMPORTANCE) >= threshold
        for name, importance in forget.items()
    }


def adaptive(losses: Tensor, exponent: float) -> Tensor:
    """Return ``sum_i e_i l_i`` with ``e_i`` proportional to ``l_i^-exponent``: rows with a high loss weigh less."""
    coefficients = losses.detach().clamp_min(SMALLEST_LOSS).pow(-exponent)
    return (coefficients / coefficients.sum() * losses).sum()


class _AlternatingSteps:
    """Ascent and descent steps in turn, with their rates and masks, and the slow parameters that follow."""

    def __init__(self, method: Sfron, task: Task, mask: Mapping[str, Tensor]) -> None:
        self.method, self.task, self.module = method, task, weights.clone(task.model)
        named = {name: value for name, value in self.module.named_parameters() if value.requires_grad}
        self._parameters, self._mask = list(named.values()), [mask[name] for name in named]
        self._slow = [value.detach().clone() for value in self._parameters] if method.beta < 1 else None
        self.optimizer = training_loop.optimizer(task.oracle.recipe, self.module, method.rate)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._total, self._done, self._ascending = training_loop.steps(task, len(task.retain), method.epochs), 0, False
        self._forget = training_loop.endless_batches(
            task.oracle.recipe, self.module, task.forget, task.seed, training_loop.TURN
        )

    def losses(self, turn: int) -> Iterator[Tensor]:
        """Compute the losses of a pass over the retained rows, with those of the ascent between them."""
        task, objective, seed = self.task, self.task.objective, training_loop.seed_of(self.task, turn)
        for x, y in training_loop.batches(task.oracle.recipe, self.module, task.retain, 1, seed):
            fall = (1 + math.cos(math.pi * self._done / self._total)) / 2
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * fall
            if self._done % self.method.every == 0:
                self._ascending = True
                yield self._ascent(fall)
            self._ascending = False
            yield objective.losses(objective.outputs(self.module, x), y).mean()
            self._done += 1

    def _ascent(self, fall: float) -> Tensor:
        """Return a loss whose gradient is that of the ascent, masked and clipped; ``fall`` scales it."""
        x, y = next(self._forget)
        objective = self.task.objective
        total = (
            -self.method.alpha
            * fall
            * adaptive(objective.losses(objective.outputs(self.module, x), y), self.method.exponent)
        )
        gradients = torch.autograd.grad(total, self._parameters, allow_unused=True)
        masked = [
            (value, gradient * mask)
            for value, gradient, mask in zip(self._parameters, gradients, self._mask, strict=True)
            if gradient is not None
        ]
        norm = torch.linalg.vector_norm(torch.stack([gradient.norm() for _, gradient in masked]))
        share = (self.method.norm / (norm + 1e-6)).clamp_max(1.0)
        return torch.stack([(value * (share * gradient)).sum() for value, gradient in masked]).sum()

    @torch.no_grad()
    def follow(self) -> None:
        """Update the slow parameters after each step on retained rows, and set the fast ones to them."""
        if self._slow is not None and not self._ascending:
            for value, slow in zip(self._parameters, self._slow, strict=True):
                slow.lerp_(value, self.method.beta)
                value.copy_(slow)
