"""SFR-on: fast ascent on the forget rows where they matter more than the retained ones, slow descent on these."""

import itertools
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
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import training_loop, validation
from neuralyzer.unlearning.method import Expectation, Need, Passes, Range
from neuralyzer.unlearning.task import Task

LEAST = 1e-15  # beside each importance, so that what matters to neither set is divided
SMALLEST = 1e-7  # a smaller loss counts as this one: single precision does not tell them from 0


@dataclass(frozen=True)
class Sfron:
    """Saliency forgetting in the remain-preserving manifold, online (Huang et al. 2024, arXiv 2409.19732).

    Every ``every`` steps the parameters take a fast step up ``alpha_t sum_i e_i l_i`` on forget rows, with the adaptive
    coefficients ``e_i = l_i^-lambda / sum_j l_j^-lambda``, on the mask ``m = [F_forget / F_retain >= gamma]`` alone (``F``
    the diagonal of the empirical Fisher matrix at the original), clipped to ``norm``. Each step ends with one down the
    loss of retained rows, which brings them back to the manifold on which these are preserved as the Hessian's inverse
    would, and the slow parameters follow: ``theta <- theta + beta (fast - theta)``. ``alpha_t`` and the rate fall
    together by a half cosine over all steps.

    Read from the authors' code; the derivation from memory. Their code squares the gradients of whole batches for
    ``F``; here they are those of single rows, as the paper defines it.

    Attributes:
        alpha: ``alpha_0``, weight of the ascent (theirs for CIFAR-10).
        exponent: ``lambda``.
        threshold: ``gamma``.
        every: retained steps for each on forget rows.
        norm: of the ascent's gradient at most.
        beta: of the slow parameters.
        epochs: passes over the retained rows (theirs were 1500 steps, 4 passes).
        rate: first learning rate, as a multiple of the recipe's (theirs was 0.01 where training had 0.1).
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
        {Need.RETAIN, Need.FORGET, Capability.GRADIENTS, Capability.CONTINUED}
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
        """Gradients of all rows, then the steps on retained rows and those on forget rows between them."""
        return Passes(steps=self._steps(task), singles=len(task.oracle.data))

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Alternate from a copy of the original."""
        return training_loop.last(self.states(task, progress or Silent()))

    def states(self, task: Task, progress: Progress) -> Iterator[nn.Module]:
        """The model after each pass over the retained rows."""
        course = _Course(self, task, salient(task, self.threshold))
        return training_loop.passes(
            task, course.module, course.optimizer, course.losses, self.epochs, progress, "forgetting fast, slowly keeping",
            self._steps(task), course.follow,
        )  # fmt: skip

    def _steps(self, task: Task) -> int:
        down = training_loop.steps(task, len(task.retain), self.epochs)
        return down + math.ceil(down / self.every)


def salient(task: Task, threshold: float) -> dict[str, Tensor]:
    """Which parameters matter to the forget rows ``threshold`` times as much as to the retained ones, or more."""
    forget = importances(task.model, task.objective, task.forget)
    retain = importances(task.model, task.objective, task.retain)
    return {name: (own + LEAST) / (retain[name] + LEAST) >= threshold for name, own in forget.items()}


def adaptive(losses: Tensor, exponent: float) -> Tensor:
    """``sum_i e_i l_i`` with ``e_i`` in proportion to ``l_i^-exponent``: what is forgotten already weighs less."""
    coefficients = losses.detach().clamp_min(SMALLEST).pow(-exponent)
    return (coefficients / coefficients.sum() * losses).sum()


class _Course:
    """The alternation: what is stepped down next, at which rate, and the slow parameters that follow."""

    def __init__(self, method: Sfron, task: Task, mask: Mapping[str, Tensor]) -> None:
        self.method, self.task, self.module = method, task, weights.clone(task.model)
        named = {name: value for name, value in self.module.named_parameters() if value.requires_grad}
        self._parameters, self._mask = list(named.values()), [mask[name] for name in named]
        self._slow = [value.detach().clone() for value in self._parameters] if method.beta < 1 else None
        self.optimizer = training_loop.optimizer(task.oracle.recipe, self.module, method.rate)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._total, self._done, self._ascending = training_loop.steps(task, len(task.retain), method.epochs), 0, False
        self._forget = itertools.chain.from_iterable(
            training_loop.batches(task.oracle.recipe, self.module, task.forget, 1, training_loop.seed_of(task, turn))
            for turn in itertools.count()
        )

    def losses(self, turn: int) -> Iterator[Tensor]:
        """The losses of a pass over the retained rows."""
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
        """A loss whose gradient is the fast step's: masked, then clipped."""
        x, y = next(self._forget)
        objective = self.task.objective
        total = (
            -self.method.alpha
            * fall
            * adaptive(objective.losses(objective.outputs(self.module, x), y), self.method.exponent)
        )
        found = torch.autograd.grad(total, self._parameters, allow_unused=True)
        masked = [
            (value, own * mask) for value, own, mask in zip(self._parameters, found, self._mask, strict=True)
            if own is not None
        ]  # fmt: skip
        norm = torch.linalg.vector_norm(torch.stack([own.norm() for _, own in masked]))
        share = (self.method.norm / (norm + 1e-6)).clamp_max(1.0)
        return torch.stack([(value * (share * own)).sum() for value, own in masked]).sum()

    @torch.no_grad()
    def follow(self) -> None:
        """Let the slow parameters follow the fast ones, once these have seen retained rows again."""
        if self._slow is not None and not self._ascending:
            for value, slow in zip(self._parameters, self._slow, strict=True):
                slow.lerp_(value, self.method.beta)
                value.copy_(slow)
