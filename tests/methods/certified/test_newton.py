"""Certified removal against closed forms, and its bound against the gradient that the step really leaves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import BudgetSpentError, UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import removable, weights
from neuralyzer.models.classification import Classification
from neuralyzer.models.regression import Regression
from neuralyzer.models.removable import RemovableLinear
from neuralyzer.models.trained import TrainedModel
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods.small import untrained

ROWS, WIDTH, GONE, DECAY = 120, 5, 9, 0.05
KINDS = ["rest", "two", "real"]


def data(kind):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, WIDTH)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = {"rest": generator.integers(3, size=ROWS), "two": (x[:, 0] > 0).astype(int)}.get(kind)
    y = generator.normal(size=(ROWS, 2)).astype(np.float32) if y is None else y
    subjects = np.where(np.arange(ROWS) < GONE, "gone", np.where(np.arange(ROWS) < 2 * GONE, "next", "stays"))
    return Data.from_arrays(x, y, subjects, [f"r{k}" for k in range(ROWS)])


def model(kind, seed=0, features=None, noise=1.0):
    outputs = {"rest": 3, "two": 1, "real": 2}[kind]
    objective = Regression() if kind == "real" else Classification()
    recipe = removable.recipe(
        lambda: RemovableLinear(
            WIDTH if features is None else 7, outputs, weight_decay=DECAY, noise=noise,
            features=None if features is None else features(),
        ),
        objective, seed,
    )  # fmt: skip
    return TrainedModel.fit(recipe, data(kind))


def task(oracle, subject="gone", seed=0):
    return Task(oracle, ErasureRequest(subjects=[subject]), seed=seed)


def pull(w, x, y):
    """Gradient of the rows' objective without its perturbation at ``w (K, d)``, by autograd."""
    w = w.detach().double().requires_grad_()
    z = x.double() @ w.T
    if y.is_floating_point():
        losses = ((z - y) ** 2).sum(1) / 2
    else:
        hot = y[:, None].double() if len(w) == 1 else nn.functional.one_hot(y, len(w)).double()
        losses = nn.functional.binary_cross_entropy_with_logits(z, hot, reduction="none").sum(1)
    return torch.autograd.grad(losses.sum() + DECAY * len(x) / 2 * (w**2).sum(), w)[0]


def left(oracle, unlearned, rows):
    """The gradient's norm of the perturbed objective on other rows, ``b`` taken from where the original's vanishes."""
    b = -pull(oracle.model.head.weight, oracle.data.x, oracle.data.y)
    return (pull(unlearned.head.weight, rows.x, rows.y) + b).norm(dim=1)


def test_of_squared_error_one_step_is_exact():
    oracle = model("real")
    asked = task(oracle)
    made = catalogue.make("newton").unlearn(asked)
    b = -pull(oracle.model.head.weight, oracle.data.x, oracle.data.y)
    x, y = asked.retain.x.double(), asked.retain.y.double()
    expected = torch.linalg.solve(x.T @ x + DECAY * len(x) * torch.eye(WIDTH), x.T @ y - b.T).T
    torch.testing.assert_close(made.head.weight.detach().double(), expected, rtol=0, atol=1e-6)
    assert (made.head.weight - oracle.model.head.weight).abs().max() > 1e-3
    assert made.epsilon(1e-4) < 1e-3


@pytest.mark.parametrize("kind", ["rest", "two"])
def test_the_step_by_autograd(kind):
    """Each output's own step: the leave-out Hessian and gradient from autograd, at the trained weights."""
    oracle = model(kind)
    asked = task(oracle)
    x, y = asked.retain.x, asked.retain.y
    for k, w in enumerate(oracle.model.head.weight.detach().double()):

        def total(w, y=(y == k) if kind == "rest" else y):
            losses = nn.functional.binary_cross_entropy_with_logits(x.double() @ w, y.double(), reduction="sum")
            return losses + DECAY * len(x) / 2 * (w**2).sum()

        hessian = torch.autograd.functional.hessian(total, w)
        everyone = pull(oracle.model.head.weight, oracle.data.x, oracle.data.y)[k]
        kept = pull(oracle.model.head.weight, x, y)[k]
        expected = w + torch.linalg.solve(hessian, everyone - kept)
        made = catalogue.make("newton").unlearn(asked).head.weight[k].detach().double()
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
        bound = torch.linalg.matrix_norm(x.double(), 2) * (expected - w).norm() * (x.double() @ (expected - w)).norm()
        account = catalogue.make("newton").unlearn(asked).residual[k]
        torch.testing.assert_close(account, bound / 4, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_bounds_the_gradient_that_is_left(kind, seed):
    oracle = model(kind, seed)
    asked = task(oracle)
    made = catalogue.make("newton").unlearn(asked)
    true = left(oracle, made, asked.retain)
    # what the original's own gradient was is not zero but on its account: b above is off by it
    slack = 2 * oracle.model.residual + 1e-9
    assert (true <= made.residual + slack).all()
    if kind != "real":
        assert (true > 1e-7).all() and (left(oracle, oracle.model, asked.retain) > 5 * made.residual).all()


def test_a_second_removal_goes_on_with_the_account(tmp_path):
    oracle = model("rest", noise=5.0)
    first = catalogue.make("newton").unlearn(task(oracle))
    path = weights.save(first, tmp_path / "first.safetensors")
    rest = oracle.data.select(oracle.data.subjects != "gone")
    again = task(TrainedModel.load(oracle.recipe, path, rest), "next")
    second = catalogue.make("newton").unlearn(again)
    assert (second.residual > first.residual).all() and int(second.rows) == ROWS - 2 * GONE
    assert (left(oracle, second, again.retain) <= second.residual).all()
    both = Task(oracle, ErasureRequest(subjects=["gone", "next"]))
    at_once = catalogue.make("newton").unlearn(both)
    torch.testing.assert_close(second.head.weight, at_once.head.weight, rtol=0, atol=1e-2)
    spent = second.epsilon(1e-4)
    norm = float(second.residual.norm())
    assert spent == pytest.approx(math.sqrt(2 * math.log(1.5e4)) * norm / 5.0)
    enough, short = (catalogue.make("newton", epsilon=share * spent) for share in (1.001, 0.999))
    assert first.epsilon(1e-4) < 0.999 * spent
    assert weights.digest(enough.unlearn(again)) == weights.digest(second)
    with pytest.raises(BudgetSpentError, match="removing these 9 rows would bring the removals to epsilon"):
        short.unlearn(again)


def test_a_head_on_frozen_features():
    def features():
        return nn.Sequential(nn.Linear(WIDTH, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Tanh())

    oracle = model("rest", features=features)
    asked = task(oracle)
    before, state = weights.digest(asked.model), torch.get_rng_state()
    made = catalogue.make("newton").unlearn(asked)
    assert (torch.get_rng_state() == state).all() and weights.digest(asked.model) == before
    assert weights.digest(made) == weights.digest(catalogue.make("newton").unlearn(asked)) != before
    for name, value in oracle.model.features.state_dict().items():
        assert torch.equal(made.features.state_dict()[name], value)
    assert not made.features[0].weight.requires_grad and made.head.weight.requires_grad and not made.training
    phi = oracle.model.features
    seen = [Data.from_arrays(phi(rows.x).detach(), rows.y) for rows in (oracle.data, asked.retain)]
    flat = replace(oracle, data=seen[0], run=None)
    assert (left(flat, made, seen[1]) <= made.residual + 1e-6).all()


def test_the_step_is_taken_whole_where_time_is_short():
    asked = task(model("rest"))
    whole = catalogue.make("newton").unlearn(asked)
    asked.start(0.0)
    assert weights.digest(catalogue.make("newton").unlearn(asked)) == weights.digest(whole)


def test_what_it_cannot_certify():
    method, oracle = catalogue.make("newton"), model("two")
    assert obstacle(method, task(oracle)) is None and method.passes(task(oracle)).products == (ROWS - GONE) * WIDTH
    assert "and this model is another" in obstacle(method, untrained())
    moved = weights.clone(oracle.model)
    moved.head.weight.data += 0.1
    found = obstacle(method, task(replace(oracle, model=moved)))
    assert found == "the model's weights are not those that its account of removals was made of"
    fewer = replace(oracle, data=oracle.data.select(np.arange(ROWS - 1)))
    assert obstacle(method, task(fewer)) == f"the model's account is of {ROWS} rows, and there are {ROWS - 1}"
    fresh = replace(oracle, model=oracle.recipe.module())
    assert "not those that its account" in obstacle(method, task(fresh))
    with pytest.raises(UsageError, match=r"newton certifies models\.removable\.RemovableLinear alone"):
        method.unlearn(untrained())
    for wrong in ({"epsilon": 0.0}, {"epsilon": 2.0}, {"delta": 0.0}):
        with pytest.raises(UsageError, match=r"newton takes epsilon in \(0, 1\] and delta in \(0, 1\)"):
            catalogue.make("newton", **wrong)
