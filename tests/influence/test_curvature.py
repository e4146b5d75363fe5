"""Gauss-Newton products and gradients, against explicit Jacobian matrices and against curvlinops."""

import numpy as np
import pytest
import torch
from curvlinops import GGNLinearOperator
from torch import nn
from torch.func import functional_call, jacrev

from neuralyzer.data.rows import Data
from neuralyzer.influence import curvature
from neuralyzer.influence.curvature import (
    GaussNewton,
    Parameters,
    directional_derivative,
    mean_gradient,
)
from neuralyzer.models.classification import Classification
from neuralyzer.models.reading import called
from neuralyzer.models.regression import Regression
from tests.models.cases import CASES, Double


@pytest.fixture(params=list(CASES), name="case")
def _case(request):
    return CASES[request.param]


@pytest.fixture
def module(case):
    return nn.Sequential(Double(), case.module().double())


@pytest.fixture
def data(case):
    return Data.from_arrays(*case.rows(13))


def trained(module):
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def jacobian(module, x):
    """Of one row's outputs with respect to the trained parameters, ``(C, P)``."""
    parameters = trained(module)
    parts = jacrev(lambda values: functional_call(module, values, (x[None],))[0])(parameters)
    return torch.cat([part.flatten(1) for part in parts.values()], 1)


def hessian(case, outputs, y):
    return torch.autograd.functional.hessian(lambda own: case.objective.losses(own[None], y[None])[0], outputs)


def dense(case, module, data):
    """``(1/n) sum J' H J``."""
    total = 0
    for x, y in zip(data.x, data.y, strict=True):
        own = jacobian(module, x)
        outputs = module(x[None]).detach()[0]
        if len(outputs) == 1:  # a single logit z stands for (0, z)
            own, outputs = torch.cat([torch.zeros_like(own), own]), torch.cat([torch.zeros(1).double(), outputs])
        total = total + own.T @ hessian(case, outputs, y) @ own
    return total / len(data)


@pytest.mark.parametrize("chunk", [5, 2048])
def test_products_with_the_gauss_newton_matrix(case, module, data, chunk, monkeypatch):
    monkeypatch.setattr(curvature, "CHUNK", chunk)
    matrix = dense(case, module, data)
    operator = GaussNewton(module, case.objective, data)
    vectors = torch.randn(3, len(matrix), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for vector in vectors:
        torch.testing.assert_close(operator @ vector, matrix @ vector, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "conv", "regression"])
def test_products_agree_with_curvlinops(name):
    case = CASES[name]
    module, data = nn.Sequential(Double(), case.module().double()), Data.from_arrays(*case.rows(13))
    regression = isinstance(case.objective, Regression)
    # torch halves no squared error
    loss, share = (
        (nn.MSELoss(reduction="sum"), 0.5 / 13) if regression else (nn.CrossEntropyLoss(reduction="mean"), 1.0)
    )
    batches = [(data.x, data.y.double() if regression else data.y)]
    parameters = list(module.parameters())
    theirs = GGNLinearOperator(module, loss, parameters, batches, check_deterministic=False)
    vector = torch.randn(sum(p.numel() for p in parameters), dtype=torch.float64)
    torch.testing.assert_close(GaussNewton(module, case.objective, data) @ vector, share * (theirs @ vector))


def test_the_mean_gradient(case, module, data, monkeypatch):
    loss = case.objective.losses(case.objective.outputs(module, data.x), data.y).mean()
    want = torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, [p for p in module.parameters() if p.requires_grad])]
    )
    for chunk in (5, 2048):
        monkeypatch.setattr(curvature, "CHUNK", chunk)
        torch.testing.assert_close(mean_gradient(module, case.objective, data), want, rtol=1e-10, atol=1e-12)
    assert all(parameter.grad is None for parameter in module.parameters())


def directional_losses(module, objective, data, direction):
    """Each row's gradient times one direction, by the forward mode that products with the curvature take."""
    parameters = Parameters(module)
    x, y = data.gather(np.arange(len(data)))

    def losses(values):
        return objective.losses(objective.outputs(called(module, values), x), y)

    return directional_derivative(losses, parameters.values, parameters.tree(direction))[1].detach()


def test_losses_along_a_direction(case, module, data):
    """Against central differences of each row's loss."""
    parameters = Parameters(module)
    start = parameters.flat(parameters.values)
    direction = torch.randn(len(start), generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def losses(step):
        moved = parameters.tree(start + step * direction)
        outputs = functional_call(module, moved, (data.x,))
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1) if outputs.shape[1] == 1 else outputs
        return case.objective.losses(outputs, data.y).detach()

    got = directional_losses(module, case.objective, data, direction)
    want = (losses(1e-5) - losses(-1e-5)) / 2e-5
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_flat_vectors_and_trees(module):
    parameters = Parameters(module)
    flat = parameters.flat(parameters.values)
    again = parameters.tree(flat)
    assert list(again) == list(trained(module)) and len(flat) == sum(parameters.sizes)
    assert all(torch.equal(again[name], value) for name, value in trained(module).items())
    assert np.isclose(float(flat.square().sum()), sum(float(v.square().sum()) for v in trained(module).values()))


def test_two_reverse_passes_give_what_the_forward_mode_gives(case, module, data, monkeypatch):
    operator = GaussNewton(module, case.objective, data)
    vector = torch.randn(sum(operator.parameters.sizes), generator=torch.Generator().manual_seed(2)).double()
    forward = operator @ vector, directional_losses(module, case.objective, data, vector)

    def missing(*_):
        raise NotImplementedError

    monkeypatch.setattr(curvature, "jvp", missing)
    torch.testing.assert_close(operator @ vector, forward[0], rtol=1e-9, atol=1e-12)
    got = directional_losses(module, case.objective, data, vector)
    torch.testing.assert_close(got, forward[1], rtol=1e-9, atol=1e-12)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer, self.head = kind(5, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.filterwarnings("ignore:TF32")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers(kind):
    """Against torch's own cells, whose forward mode is there once oneDNN's fused layer is off."""
    torch.manual_seed(0)
    module = Recurrent(kind).eval()
    data = Data.from_arrays(torch.randn(20, 6, 5), torch.randint(3, (20,)))
    operator = GaussNewton(module, Classification(), data)
    vector = torch.randn(sum(operator.parameters.sizes))
    got = operator @ vector
    with torch.backends.mkldnn.flags(enabled=False):
        want = operator @ vector
        value, along = directional_derivative(lambda v: functional_call(module, v, (data.x,)), operator.parameters.values,
                              operator.parameters.tree(vector))  # fmt: skip
    assert value.shape == along.shape == (20, 3)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_attention_is_differentiated_and_its_fast_path_left_as_it_was():
    """Rows' losses along a direction, against central differences."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixed, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.mixed(x, x, x, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    module = nn.Sequential(Double(), Attention().double()).eval()
    data = Data.from_arrays(torch.randn(9, 3, 4), torch.randint(3, (9,)))
    parameters = Parameters(module)
    start = parameters.flat(parameters.values)
    direction = torch.randn(len(start)).double()
    losses = [
        nn.functional.cross_entropy(
            functional_call(module, parameters.tree(start + step * direction), (data.x,)), data.y, reduction="none"
        )
        for step in (1e-5, -1e-5)
    ]
    got = directional_losses(module, Classification(), data, direction)
    torch.testing.assert_close(got, ((losses[0] - losses[1]) / 2e-5).detach(), rtol=1e-5, atol=1e-7)
    assert torch.backends.mha.get_fastpath_enabled()
