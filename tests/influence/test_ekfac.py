import numpy as np
import pytest
import torch
from curvlinops import EKFACLinearOperator, FisherType, GGNLinearOperator
from torch import nn

from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UsageError
from neuralyzer.influence import kept
from neuralyzer.influence.curvature import GaussNewton, Parameters
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.layers import covered
from neuralyzer.models.classification import Classification
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel


def _data(rows=240, shape=(6,), classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, *shape, generator=generator)
    return Data.from_arrays(x, torch.randint(classes, (rows,), generator=generator))


def _mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).eval()


def _cnn(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding="same"), nn.Flatten(),
        nn.Linear(48, 3, bias=False),
    ).eval()  # fmt: skip


def _dense(matrix, parameters):
    size = sum(parameters.sizes)
    return torch.stack([matrix.product(parameters, e) for e in torch.eye(size)])


def test_one_linear_layer_has_the_exact_diagonal_in_its_basis():
    # For one layer the corrected eigenvalues are the diagonal of U'FU, with F the Fisher of the same drawn gradients.
    data, module = _data(), nn.Linear(6, 3).eval()
    made = ekfac(module, Classification(), data, seed=3)
    drawn = Classification().drawn_gradients(module(data.x).detach(), data.y, torch.Generator().manual_seed(3))
    a = torch.cat([data.x, torch.ones(len(data), 1)], 1)
    rows = torch.einsum("ng,na->nga", drawn, a)
    (block,) = made.blocks
    turned = block.outputs.T @ rows @ block.inputs
    torch.testing.assert_close(block.values, turned.square().mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rows", [240, 400])
def test_it_nears_curvlinops_where_both_draw_many_gradients(rows):
    data, module = _data(rows), _mlp()
    parameters = Parameters(module)
    made = sum(_dense(ekfac(module, Classification(), data, seed=s), parameters) for s in range(60)) / 60
    peer = EKFACLinearOperator(
        module, nn.CrossEntropyLoss(), list(module.parameters()), [(data.x, data.y)], fisher_type=FisherType.TYPE2,
        check_deterministic=False, num_data=rows, num_per_example_loss_terms=1, separate_weight_and_bias=False,
    )  # fmt: skip
    theirs = peer @ torch.eye(sum(parameters.sizes))
    assert float((made - theirs).norm() / theirs.norm()) < 0.06


def test_convolutions_have_the_trace_of_the_gauss_newton_matrix():
    # Corrected eigenvalues keep each row's squared gradient norm, so traces agree up to the drawing.
    data, module = _data(300, (2, 8, 8)), _cnn()
    parameters = Parameters(module)
    traces = [
        sum(float(b.values.sum()) for b in ekfac(module, Classification(), data, seed=s).blocks) for s in range(8)
    ]
    exact = GaussNewton(module, Classification(), data)
    eye = torch.eye(sum(parameters.sizes))
    want = sum(float((exact @ e) @ e) for e in eye)
    assert np.mean(traces) == pytest.approx(want, rel=0.03)


def test_solve_inverts_the_damped_product():
    data, module = _data(120, (2, 8, 8)), _cnn()
    parameters, made = Parameters(module), ekfac(module, Classification(), data)
    vector = torch.randn(sum(parameters.sizes), generator=torch.Generator().manual_seed(0))
    damping = 0.01 * made.largest
    back = made.product(parameters, made.solve(parameters, vector, damping))
    torch.testing.assert_close(back + damping * made.solve(parameters, vector, damping), vector, rtol=1e-4, atol=1e-4)


def test_regression_draws_gradients_of_unit_variance():
    torch.manual_seed(0)
    x = torch.randn(500, 4)
    module = nn.Linear(4, 2).eval()
    data = Data.from_arrays(x, torch.zeros(500, 2))
    traces = [float(ekfac(module, Regression(), data, seed=s).blocks[0].values.sum()) for s in range(20)]
    peer = GGNLinearOperator(
        module, nn.MSELoss(reduction="sum"), list(module.parameters()), [(x, torch.zeros(500, 2))],
        check_deterministic=False, num_data=500,
    )  # fmt: skip
    trace = float((peer @ torch.eye(10)).trace()) / 2 / 500
    assert np.mean(traces) == pytest.approx(trace, rel=0.04)


class _Odd(nn.Module):
    """A tied, a frozen, an unused layer, and a norm."""

    def __init__(self):
        super().__init__()
        self.first, self.frozen, self.norm = nn.Linear(6, 6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.one, self.other, self.unused = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False), nn.Linear(6, 2)
        self.other.weight = self.one.weight
        self.frozen.weight.requires_grad_(False)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.other(torch.tanh(self.one(self.norm(self.frozen(self.first(x)))))))


def test_other_parameters_have_no_curvature_and_are_left_alone():
    module = _Odd().eval()
    assert list(covered(module)) == ["first", "unused", "head"]
    made, parameters = ekfac(module, Classification(), _data()), Parameters(module)
    assert {block.weight for block in made.blocks} == {"first.weight", "head.weight"}
    solved = parameters.tree(made.solve(parameters, torch.ones(sum(parameters.sizes)), 0.1))
    assert not solved["one.weight"].any() and not solved["norm.weight"].any() and solved["head.weight"].all()


def test_sequences_count_every_place():
    # One weight used at T places of a row: the row's gradient is the sum over them.
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x).mean(1)

    torch.manual_seed(1)
    data, module = _data(200, (5, 4)), Mean().eval()
    made = ekfac(module, Classification(), data, seed=2)
    pooled = nn.Linear(4, 3)
    pooled.load_state_dict({"weight": module.layer.weight, "bias": module.layer.bias})
    flat = ekfac(pooled.eval(), Classification(), Data.from_arrays(data.x.mean(1), data.y), seed=2)
    assert float(made.blocks[0].values.sum()) == pytest.approx(float(flat.blocks[0].values.sum()), rel=1e-4)


def test_a_subsample_is_seeded_and_near_the_whole():
    data, module = _data(2000), _mlp()
    parameters = Parameters(module)
    whole, some = ekfac(module, Classification(), data), ekfac(module, Classification(), data, 800, seed=1)
    again = ekfac(module, Classification(), data, 800, seed=1)
    assert some.rows == 800 and torch.equal(some.blocks[0].values, again.blocks[0].values)
    vector = torch.randn(sum(parameters.sizes), generator=torch.Generator().manual_seed(0))
    a, b = (m.solve(parameters, vector, 0.01 * m.largest) for m in (whole, some))
    assert float(a @ b / a.norm() / b.norm()) > 0.97


def test_what_cannot_be_done_is_said():
    with pytest.raises(UsageError, match="EKFAC needs a Linear or Conv2d"):
        ekfac(nn.Sequential(nn.Flatten(), nn.LayerNorm(6)), Classification(), _data())
    data = _data()
    data.x[0, 0] = torch.inf
    with pytest.raises(NotFiniteError, match="EKFAC cannot be computed"):
        ekfac(_mlp(), Classification(), Data(ArrayRows(data.x, data.y)))  # rows that nothing has checked


def test_factors_are_kept_for_one_model_alone(tmp_path):
    recipe = Recipe(_mlp, epochs=1)
    oracle = TrainedModel(_mlp(0), recipe, _data(), None)
    other = TrainedModel(_mlp(1), recipe, _data(), None)
    path = tmp_path / "curvature.safetensors"
    assert not kept.ready(oracle, path)
    made = kept.factors(oracle, path)
    assert kept.ready(oracle, path) and not kept.ready(other, path)
    read = kept.factors(oracle, path)
    assert all(
        torch.equal(a.values, b.values) and torch.equal(a.inputs, b.inputs)
        for a, b in zip(made.blocks, read.blocks, strict=True)
    )
    path.write_bytes(path.read_bytes()[:100])  # truncated: made again
    assert not kept.ready(oracle, path)
    assert torch.equal(kept.factors(oracle, path).blocks[0].values, made.blocks[0].values)
