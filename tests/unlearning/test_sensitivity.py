"""The bound on how far gradient descent is moved, and the noise that hides it, against recursions and integrals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import nn

from neuralyzer.unlearning import sensitivity
from tests.methods.contract import RECIPE
from tests.methods.small import untrained


@pytest.mark.parametrize(("before", "after"), [(0, 5), (7, 0), (4, 6)])
@pytest.mark.parametrize("smoothness", [0.0, 0.3, 12.0])
def test_the_divergence_step_by_step(before, after, smoothness):
    apart = 0.0
    for _ in range(before):
        apart = (1 + 0.1 * smoothness) * apart + 0.1 * 2 * 1.5 * 3 / 40
    for _ in range(after):
        apart *= 1 + 0.1 * smoothness
    assert sensitivity.divergence(smoothness, 1.5, 0.1, 40, 3, before, after) == pytest.approx(apart)


def test_a_bound_too_large_for_a_float_is_infinite():
    assert sensitivity.divergence(1e3, 1.0, 1.0, 40, 3, 500, 500) == math.inf


def hockey_stick(sigma, epsilon, apart):
    """How much more likely than ``exp(epsilon)`` times some outputs are under one normal than under the other."""

    def excess(t):
        return scipy.stats.norm.pdf(t, apart, sigma) - math.exp(epsilon) * scipy.stats.norm.pdf(t, 0, sigma)

    start = apart / 2 + epsilon * sigma**2 / apart  # from where the first is so much more likely
    return scipy.integrate.quad(excess, start, start + 40 * sigma, epsabs=1e-14, limit=200)[0]


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 1.5, 8.0, 40.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_the_noise_hides_the_distance(epsilon, delta):
    sigma = sensitivity.gaussian(0.7, epsilon, delta)
    leaked = hockey_stick(sigma, epsilon, 0.7)
    assert leaked <= delta * (1 + 1e-6)
    if epsilon <= 1:
        assert sigma == pytest.approx(0.7 * math.sqrt(2 * math.log(1.25 / delta)) / epsilon)
    else:
        assert leaked == pytest.approx(delta, rel=1e-3)  # and not more than it must


def test_without_a_distance_there_is_no_noise():
    assert sensitivity.gaussian(0.0, 1.0, 1e-5) == sensitivity.gaussian(0.0, 3.0, 1e-5) == 0.0


def test_the_steepest_row_and_the_sharpest_direction():
    task = untrained(replace(RECIPE, build=lambda: nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3))))
    x, y = task.oracle.data.gather(np.arange(len(task.oracle.data)))
    parameters = dict(task.model.named_parameters())
    longest = 0.0
    for row, label in zip(x, y, strict=True):
        loss = nn.functional.cross_entropy(task.model(row[None]), label[None])
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        longest = max(longest, math.sqrt(sum(float(g.square().sum()) for g in gradients)))
    assert sensitivity.largest_gradient_norm(task.model, task.objective, task.oracle.data) == pytest.approx(
        longest, rel=1e-4
    )

    sizes = [p.numel() for p in parameters.values()]

    def loss(vector):
        values = {
            name: part.reshape(p.shape) for (name, p), part in zip(parameters.items(), vector.split(sizes), strict=True)
        }
        return nn.functional.cross_entropy(torch.func.functional_call(task.model, values, (x,)), y)

    flat = torch.cat([p.detach().flatten() for p in parameters.values()])
    largest = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).abs().max()
    found = sensitivity.largest_hessian_eigenvalue(task.model, task.objective, task.oracle.data)
    assert found <= float(largest) * (1 + 1e-5) and found == pytest.approx(float(largest), rel=0.02)
