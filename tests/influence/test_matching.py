from itertools import repeat

import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.influence.conjugate import conjugate_gradients
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.matching import matching
from neuralyzer.models.classification import Classification
from neuralyzer.models.regression import Regression


def test_conjugate_gradients_solve():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    a, b = root @ root.T + torch.eye(12), torch.randn(12, generator=generator, dtype=torch.float64)
    plain = conjugate_gradients(lambda v: a @ v, b, lambda v: v, 40, 1e-12)
    turned = conjugate_gradients(lambda v: a @ v, b, lambda v: v / a.diagonal(), 40, 1e-12)
    torch.testing.assert_close(plain, torch.linalg.solve(a, b), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(turned, plain, rtol=1e-8, atol=1e-8)
    with pytest.raises(NotFiniteError):
        conjugate_gradients(lambda v: v * torch.nan, b, lambda v: v, 3, 1e-3)


def test_a_linear_models_step_is_the_closed_form():
    # min 1/2 |X_F theta - t|^2 + (n / pull) 1/2 (theta - theta_0)' (H + lambda I) (theta - theta_0)
    torch.manual_seed(0)
    x = torch.randn(300, 5)
    module = nn.Linear(5, 1, bias=False).eval()
    data = Data.from_arrays(x, torch.zeros(300))
    factors = ekfac(module, Regression(), data)
    rows, target = data.select(range(8)), torch.randn(8, 1)
    damping, pull = 0.1 * factors.largest, 7.0
    stepped = next(matching(module, Regression(), [(rows, target)], factors, 300, damping, pull))
    (block,) = factors.blocks
    h = block.inputs @ torch.diag(block.values[0]) @ block.inputs.T
    metric, x_f = (h + damping * torch.eye(5)) * 300 / pull, x[:8]
    theta = module.weight.detach()[0]
    want = theta + torch.linalg.solve(metric + x_f.T @ x_f, x_f.T @ (target[:, 0] - x_f @ theta))
    torch.testing.assert_close(stepped.weight.detach()[0], want, rtol=0.02, atol=0.02)


def test_outputs_reach_the_target_and_other_rows_hardly_move():
    torch.manual_seed(0)
    centres = 0.7 * torch.randn(3, 10)  # classes overlap, so rows are memorised
    y = torch.randint(3, (400,))
    x = centres[y] + torch.randn(400, 10)
    module = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    module.eval()
    data = Data.from_arrays(x, y)
    before = module(x).softmax(1).detach()
    target = (before[:5] + torch.full((5, 3), 1 / 3)) / 2
    factors = ekfac(module, Classification(), data)
    rounds = repeat((data.select(range(5)), target))
    path = matching(module, Classification(), rounds, factors, 395, 1e-3 * factors.largest)
    for _ in range(12):
        reached = next(path)
    after = reached(x).softmax(1).detach()
    wanted, elsewhere = (target - before[:5]).abs().mean(), (after[5:] - before[5:]).abs().mean()
    assert float((after[:5] - target).abs().mean()) < 0.5 * float(wanted)
    assert float(elsewhere) < 0.5 * float(wanted)
    torch.testing.assert_close(module(x).softmax(1).detach(), before)  # where it started is not changed


def test_rows_in_chunks_step_as_rows_together(monkeypatch):
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.randint(3, (60,))
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    data = Data.from_arrays(x, y)
    factors = ekfac(module, Classification(), data)

    def steps():
        target = torch.full((10, 3), 1 / 3)
        path = matching(module, Classification(), repeat((data.select(range(10)), target), 2), factors, 60, 1e-2)
        return [nn.utils.parameters_to_vector(step.parameters()).detach() for step in path]

    together = steps()
    monkeypatch.setattr("neuralyzer.influence.matching.CHUNK", 4)
    torch.testing.assert_close(steps(), together)
