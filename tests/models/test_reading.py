"""What is read off a model: against plain passes and explicit gradients of single rows."""

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.models import reading
from neuralyzer.models.classification import Classification
from tests.models.cases import CASES, Double


@pytest.fixture(params=list(CASES), name="case")
def _case(request):
    return CASES[request.param]


def squared_norms(module, objective, x, y):
    """One backward pass a row."""
    found = []
    for row in range(len(x)):
        loss = objective.losses(objective.outputs(module, x[row : row + 1]), y[row : row + 1]).sum()
        gradients = torch.autograd.grad(loss, [p for p in module.parameters() if p.requires_grad])
        found.append(sum(g.square().sum() for g in gradients))
    return torch.stack(found).detach()


@pytest.mark.parametrize("chunk", [3, 64])
def test_squared_gradient_norms(case, chunk):
    module, (x, y) = case.module(), case.rows(11)
    got = reading.squared_gradient_norms(module, case.objective, x, y, chunk)
    torch.testing.assert_close(got, squared_norms(module, case.objective, x, y), rtol=1e-4, atol=1e-7)


class Unusual(nn.Module):
    """Linear layers alone, but not each used once on a matrix."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.first, self.last = kind, nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x):
        if self.kind == "twice":
            return self.last(torch.tanh(self.first(torch.tanh(self.first(x)))))
        if self.kind == "on a sequence":
            return self.last(torch.tanh(self.first(x.unsqueeze(1).repeat(1, 3, 1)))).sum(1)
        return self.last(torch.tanh(nn.functional.linear(x, self.first.weight, self.first.bias)))


@pytest.mark.parametrize("kind", ["twice", "on a sequence", "not called"])
def test_linear_layers_used_in_other_ways(kind):
    module, (x, y) = Unusual(kind).eval(), CASES["mlp"].rows(5)
    assert reading.only_linear(module)
    got = reading.squared_gradient_norms(module, Classification(), x, y)
    torch.testing.assert_close(got, squared_norms(module, Classification(), x, y), rtol=1e-4, atol=1e-7)


class Gated(nn.Module):
    """A recurrent layer, which ``vmap`` cannot take, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.dead, self.steps, self.last = nn.Linear(3, 3), nn.GRU(1, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x):
        return self.last(self.steps(x.unsqueeze(2))[0][:, -1])


def test_gradients_row_by_row_where_vmap_cannot_go():
    module, (x, y) = Gated().eval(), CASES["mlp"].rows(5)
    found = reading.row_gradients(module, Classification(), x, y)
    for row in range(5):
        loss = Classification().losses(module(x[row : row + 1]), y[row : row + 1]).sum()
        named = dict(module.named_parameters())
        own = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for name, slope in zip(named, own, strict=True):
            torch.testing.assert_close(found[name][row], torch.zeros_like(named[name]) if slope is None else slope)
    assert reading.used(module, Classification(), x) == {name for name in named if not name.startswith("dead")}


def test_what_fails_for_every_row_is_raised():
    def broken(*_):
        raise RuntimeError("no such row")

    with pytest.raises(RuntimeError, match="no such row"):
        reading.gradients_by_row(nn.Linear(6, 4), broken, *CASES["mlp"].rows(2))


def test_which_modules_take_the_short_way():
    short = {name for name, case in CASES.items() if reading.only_linear(case.module())}
    assert short == {"mlp", "single logit", "regression"}


def test_no_hook_stays_and_no_gradient_is_left(case):
    module, (x, y) = case.module(), case.rows(3)
    reading.squared_gradient_norms(module, case.objective, x, y)
    assert not any(layer._forward_hooks for layer in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_outputs_do_not_depend_on_chunks(case):
    module, (x, _) = case.module(), case.rows(11)
    whole = reading.outputs(module.train(), case.objective, x)
    assert not module.training and not whole.requires_grad
    torch.testing.assert_close(reading.outputs(module, case.objective, x, 4), whole)


def test_figures_over_data():
    case = CASES["mlp"]
    module, (x, y) = case.module(), case.rows(50)
    data = Data.from_arrays(x, y)
    logits = module(x).detach().double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    right = logits.argmax(1) == y.numpy()
    assert reading.mean_loss(module, case.objective, data) == pytest.approx(
        -np.log(p[np.arange(50), y]).mean(), rel=1e-6
    )
    assert reading.utility(module, case.objective, data) == pytest.approx(right.mean())
    want = {str(label): pytest.approx(right[y.numpy() == label].mean()) for label in range(4)}
    assert reading.utility_by_class(module, case.objective, data) == want
    regression = CASES["regression"]
    rows = Data.from_arrays(*regression.rows(5))
    assert reading.utility_by_class(regression.module(), regression.objective, rows) == {}


def test_outputs_that_are_not_finite():
    module = nn.Sequential(Double(), nn.Linear(6, 4).double())
    with torch.no_grad():
        module[1].bias[0] = torch.nan
    with pytest.raises(NotFiniteError, match="cannot be judged"):
        reading.outputs(module, Classification(), torch.zeros(2, 6))
