"""The sensitivity of gradient descent to some of its rows, and the Gaussian noise that hides their influence."""

import math
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.influence.curvature import CHUNK, Parameters, plain_attention
from neuralyzer.models import reading
from neuralyzer.models.objective import Objective
from neuralyzer.models.reading import called, gradients

POWER_ITERATIONS = 30  # of the power method; chosen, not tuned


@dataclass(frozen=True)
class Account:
    """The quantities from which the noise of one removal follows.

    Attributes:
        before: steps before the checkpoint, which may have been on the removed rows.
        after: steps on the retained rows.
        rate: learning rate ``eta``.
        smoothness: ``L``, Lipschitz constant of each row's gradient.
        gradient: ``G``, largest norm of a row's gradient.
        rows: number of rows ``n``.
        removed: number of removed rows ``m``.
        epsilon: of the certificate.
        delta: of the certificate.
    """

    before: int
    after: int
    rate: float
    smoothness: float
    gradient: float
    rows: int
    removed: int
    epsilon: float
    delta: float

    @property
    def sensitivity(self) -> float:
        """Bound on the distance to the retrained weights."""
        return divergence(
            self.smoothness, self.gradient, self.rate, self.rows, self.removed, self.before, self.after
        )  # fmt: skip

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise on each trained parameter."""
        return gaussian(self.sensitivity, self.epsilon, self.delta)


def divergence(
    smoothness: float, gradient: float, rate: float, rows: int, removed: int, before: int, after: int
) -> float:
    """Return a bound on the distance between two gradient descents from the same weights.

    For ``before`` steps one is on ``n`` rows and the other lacks ``m`` of them; for ``after`` steps both lack them. The
    bound is ``(2 m G / (n L)) ((1 + eta L)^before - 1) (1 + eta L)^after``. At one point the two mean gradients differ
    by at most ``2 G m / n``, and a step on an ``L``-smooth loss multiplies the distance of two points by at most ``1 +
    eta L``.

    Args:
        smoothness: ``L``, Lipschitz constant of each row's gradient.
        gradient: ``G``, largest norm of a row's gradient.
        rate: learning rate ``eta``.
        rows: ``n``.
        removed: ``m``.
        before: number of steps on different rows.
        after: number of steps on the same rows.

    Returns:
        The bound; infinite where it is too large for a float.
    """
    growth = math.log1p(rate * smoothness)
    try:
        distance = math.expm1(before * growth) / smoothness if smoothness else rate * before
        return 2 * removed * gradient / rows * distance * math.exp(after * growth)
    except OverflowError:
        return math.inf


def gaussian(sensitivity: float, epsilon: float, delta: float) -> float:
    """Return the standard deviation of Gaussian noise that makes two outputs ``(epsilon, delta)``-indistinguishable.

    Up to ``epsilon = 1`` it is ``sensitivity sqrt(2 ln(1.25 / delta)) / epsilon`` (Dwork and Roth 2014, theorem A.1).
    Above, where that is not proved, it is the smallest sufficient one (Balle and Wang 2018, arXiv 1805.06530, theorem
    8).

    Args:
        sensitivity: largest distance of the two outputs.
        epsilon: above 0.
        delta: between 0 and 1.

    Returns:
        ``sigma``.
    """
    if epsilon <= 1:
        return sensitivity * math.sqrt(2 * math.log(1.25 / delta)) / epsilon

    def excess(scale: float) -> float:
        near, far = 1 / (2 * scale) - epsilon * scale, -1 / (2 * scale) - epsilon * scale
        return float(ndtr(near) - math.exp(min(epsilon + log_ndtr(far), 700.0))) - delta

    return sensitivity * float(brentq(excess, 1e-6, 10 + 2 * math.sqrt(math.log(1.25 / delta)), xtol=1e-15))


def largest_gradient_norm(module: nn.Module, objective: Objective, data: Data) -> float:
    """Return the largest norm of a row's loss gradient at a module's weights."""
    norms = [reading.squared_gradient_norms(module, objective, x, y).detach().max() for x, y in data.chunks(CHUNK)]
    return float(torch.stack(norms).max().sqrt())


def largest_hessian_eigenvalue(module: nn.Module, objective: Objective, data: Data) -> float:
    """Return the largest absolute eigenvalue of the mean loss's Hessian at a module's weights.

    The power method estimates it from below.
    """
    module.eval()
    parameters = Parameters(module)
    vector = torch.randn(sum(parameters.sizes), generator=torch.Generator().manual_seed(0))
    norm = 0.0
    for _ in range(POWER_ITERATIONS):
        vector = _product(module, parameters, objective, data, vector / vector.norm())
        norm = float(vector.norm())
        if norm == 0:
            break
    return norm


def _product(module: nn.Module, parameters: Parameters, objective: Objective, data: Data, vector: Tensor) -> Tensor:
    """Return the Hessian times a vector by two reverse passes, which layers without a forward mode have too."""
    direction = parameters.tree(vector)
    total = torch.zeros_like(vector)
    for x, y in data.chunks(CHUNK):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.values.items()}
        with plain_attention():
            loss = objective.losses(objective.outputs(called(module, leaves), x), y).sum()
            first = gradients(loss, list(leaves.values()), create_graph=True)
            dots = torch.stack([(g * direction[name]).sum() for name, g in zip(leaves, first, strict=True)])
            second = gradients(dots.sum(), list(leaves.values()))
        total += parameters.flat(dict(zip(leaves, second, strict=True)))
    return total / len(data)
