"""Pairwise influence, against explicit gradients of each row and a dense solve."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence.curvature import Parameters
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.scores import row_scores
from tests.models.cases import CASES

NAMES = ["mlp", "single logit", "frozen", "tied", "BatchNorm", "conv", "regression"]
DAMPING = 0.05


@pytest.fixture(params=NAMES, name="case")
def _case(request):
    return CASES[request.param]


@pytest.fixture
def world(case):
    module, rows = case.module(), Data.from_arrays(*case.rows(60))
    return module, rows, Data.from_arrays(*case.rows(9, seed=1)), ekfac(module, case.objective, rows)


def explicit(case, module, data, factors):
    """Gradients of single rows over the blocks' parameters, ``(N, P)``; zero outside them."""
    parameters = Parameters(module)
    inside = {name for block in factors.blocks for name in (block.weight, block.bias)}

    def loss(values, x, y):
        outputs = functional_call(module, values, (x[None],))
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1) if outputs.shape[1] == 1 else outputs
        return case.objective.losses(outputs, y[None])[0]

    own = vmap(grad(loss), in_dims=(None, 0, 0))(parameters.values, data.x, data.y)
    return torch.cat([(own[name] * (name in inside)).flatten(1) for name in parameters.shapes], 1)


@pytest.mark.parametrize("chunk", [None, 4, 60])
def test_scores_are_the_dense_solve(case, world, chunk):
    module, rows, target, factors = world
    parameters = Parameters(module)
    dense = torch.stack([factors.product(parameters, e) for e in torch.eye(sum(parameters.sizes))]).double()
    given, asked = (explicit(case, module, data, factors).double() for data in (rows, target))
    want = given @ torch.linalg.solve(dense + DAMPING * torch.eye(len(dense)).double(), asked.T)
    got = row_scores(module, case.objective, rows, target, factors, DAMPING, chunk)
    assert got.shape == (60, 9)
    torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def test_a_row_helps_itself():
    case = CASES["mlp"]
    module, rows = case.module(), Data.from_arrays(*case.rows(30))
    own = row_scores(module, case.objective, rows, rows, ekfac(module, case.objective, rows), DAMPING)
    assert (own.diagonal() > 0).all()
    torch.testing.assert_close(own, own.T, rtol=1e-4, atol=1e-4)


def test_factors_of_another_module_are_refused():
    case = CASES["mlp"]
    rows = Data.from_arrays(*case.rows(30))
    factors = ekfac(case.module(), case.objective, rows)
    with pytest.raises(UsageError, match="another module"):
        row_scores(nn.Linear(6, 4), case.objective, rows, rows, factors, DAMPING)
