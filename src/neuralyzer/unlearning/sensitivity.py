"""How far some rows can move gradient descent, and the noise that hides it: pure functions, and what can be measured."""

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

ITERATIONS = 30  # of the power method


@dataclass(frozen=True)
class Account:
    """What the noise over one removal rests on.

    Attributes:
        before: steps that the checkpoint had taken, which may have seen the rows.
        after: steps on the retained rows.
        rate: ``eta``.
        smoothness: ``L``.
        gradient: ``G``.
        rows: ``n``.
        gone: ``m``.
        epsilon: of the certificate.
        delta: of the certificate.
    """

    before: int
    after: int
    rate: float
    smoothness: float
    gradient: float
    rows: int
    gone: int
    epsilon: float
    delta: float

    @property
    def sensitivity(self) -> float:
        """How far the retraining may be."""
        return divergence(
            self.smoothness, self.gradient, self.rate, self.rows, self.gone, self.before, self.after
        )  # fmt: skip

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise on each trained parameter."""
        return gaussian(self.sensitivity, self.epsilon, self.delta)


def divergence(smoothness: float, gradient: float, rate: float, rows: int, gone: int, before: int, after: int) -> float:
    """Distance of two descents with ``n`` rows and without ``m`` of them for ``before`` steps, then both without.

    ``(2 m G / (n L)) ((1 + eta L)^before - 1) (1 + eta L)^after``: the two mean gradients differ by at most
    ``2 G m / n`` at one point, and a step on an ``L``-smooth loss brings two points apart by ``1 + eta L`` at most.

    Args:
        smoothness: ``L``.
        gradient: ``G``, of one row's loss.
        rate: ``eta``.
        rows: ``n``.
        gone: ``m``.
        before: steps that differ.
        after: steps that are the same.

    Returns:
        The bound; infinite where it is too large for a float.
    """
    growth = math.log1p(rate * smoothness)
    try:
        moved = math.expm1(before * growth) / smoothness if smoothness else rate * before
        return 2 * gone * gradient / rows * moved * math.exp(after * growth)
    except OverflowError:
        return math.inf


def gaussian(sensitivity: float, epsilon: float, delta: float) -> float:
    """Standard deviation that makes two outputs so far apart ``(epsilon, delta)``-indistinguishable.

    Up to ``epsilon = 1`` it is ``sensitivity sqrt(2 ln(1.25 / delta)) / epsilon`` (Dwork and Roth 2014, theorem A.1);
    above, where that is not proved, the least that will do (Balle and Wang 2018, arXiv 1805.06530, theorem 8).

    Args:
        sensitivity: how far apart the outputs are at most.
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


def steepest(module: nn.Module, objective: Objective, data: Data) -> float:
    """The largest norm of a row's loss gradient at a module's weights."""
    norms = [reading.squared_gradient_norms(module, objective, x, y).detach().max() for x, y in data.chunks(CHUNK)]
    return float(torch.stack(norms).max().sqrt())


def sharpest(module: nn.Module, objective: Objective, data: Data) -> float:
    """The largest absolute eigenvalue of the mean loss's Hessian at a module's weights, by the power method from below."""
    module.eval()
    parameters = Parameters(module)
    vector = torch.randn(sum(parameters.sizes), generator=torch.Generator().manual_seed(0))
    norm = 0.0
    for _ in range(ITERATIONS):
        vector = _product(module, parameters, objective, data, vector / vector.norm())
        norm = float(vector.norm())
        if norm == 0:
            break
    return norm


def _product(module: nn.Module, parameters: Parameters, objective: Objective, data: Data, vector: Tensor) -> Tensor:
    """The Hessian times a vector: gradients of gradients, which every layer has that has no forward mode."""
    along = parameters.tree(vector)
    total = torch.zeros_like(vector)
    for x, y in data.chunks(CHUNK):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.values.items()}
        with plain_attention():
            loss = objective.losses(objective.outputs(called(module, leaves), x), y).sum()
            first = gradients(loss, list(leaves.values()), create_graph=True)
            dotted = torch.stack([(g * along[name]).sum() for name, g in zip(leaves, first, strict=True)]).sum()
            second = gradients(dotted, list(leaves.values()))
        total += parameters.flat(dict(zip(leaves, second, strict=True)))
    return total / len(data)
