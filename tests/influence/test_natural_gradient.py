import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.influence.curvature import Parameters
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.natural_gradient import NaturalGradient

OBJECTIVE = nz.Classification()


def world(seed: int) -> tuple[nn.Module, nz.Data]:
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    rows = nz.Data.from_arrays(draw.normal(size=(60, 5)).astype(np.float32), draw.integers(0, 3, 60))
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), rows


def stepped(module: nn.Module, rows: nz.Data, times: float, **settings: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one step down ``times`` the mean loss; return how the parameters moved, and the gradient."""
    layout = Parameters(module)
    before = layout.flat({name: value.detach().clone() for name, value in module.named_parameters()})
    optimizer = NaturalGradient(module, ekfac(module, OBJECTIVE, rows), **settings)
    x, y = rows.gather(np.arange(len(rows)))
    (times * OBJECTIVE.losses(module(x), y).mean()).backward()
    gradient = layout.flat({name: value.grad for name, value in module.named_parameters()})
    optimizer.step()
    return layout.flat({name: value.detach() for name, value in module.named_parameters()}) - before, gradient


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("times", [1.0, 100.0])
def test_a_step_is_as_long_as_the_curvature_says_whatever_the_gradients_scale(seed, times):
    module, rows = world(seed)
    factors, layout = ekfac(module, OBJECTIVE, rows), Parameters(module)
    moved, gradient = stepped(module, rows, times, damping=0.01, change=1e-4)
    damped = factors.product(layout, moved) + 0.01 * factors.largest * moved
    assert float(moved @ damped) == pytest.approx(1e-4, rel=1e-3)
    torch.testing.assert_close(-damped / damped.norm(), gradient / gradient.norm(), rtol=0, atol=1e-5)


def test_a_step_is_never_longer_than_newtons():
    module, rows = world(2)
    factors, layout = ekfac(module, OBJECTIVE, rows), Parameters(module)
    moved, gradient = stepped(module, rows, 1e-3, damping=0.01, change=10.0)
    torch.testing.assert_close(moved, -factors.solve(layout, gradient, 0.01 * factors.largest), rtol=1e-3, atol=1e-9)


def test_parameters_without_a_gradient_stay():
    module, rows = world(3)
    optimizer = NaturalGradient(module, ekfac(module, OBJECTIVE, rows), 0.01)
    before = [module[place].weight.detach().clone() for place in (0, 2)]
    x, y = rows.gather(np.arange(len(rows)))
    OBJECTIVE.losses(module[2](torch.tanh(module[0](x)).detach()), y).mean().backward()
    optimizer.step()
    assert [torch.equal(module[place].weight, own) for place, own in zip((0, 2), before, strict=True)] == [True, False]
