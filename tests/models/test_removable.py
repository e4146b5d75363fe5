"""Models for certified removal: trained to the minimum of the perturbed objective, with an account that travels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import removable, training, weights
from neuralyzer.models.classification import Classification
from neuralyzer.models.regression import Regression
from neuralyzer.models.removable import RemovableLinear

ROWS, WIDTH = 60, 4
X = torch.from_numpy(np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32))
CLASSES = torch.from_numpy(np.random.default_rng(1).integers(3, size=ROWS))
REAL = torch.from_numpy(np.random.default_rng(2).normal(size=(ROWS, 2)).astype(np.float32))


def trained(y, outputs, seed=0, noise=0.5, decay=0.1, **options):
    objective = Regression() if y.is_floating_point() else Classification()
    recipe = removable.recipe(
        lambda: RemovableLinear(WIDTH, outputs, weight_decay=decay, noise=noise, **options), objective, seed
    )
    return training.train(recipe, Data.from_arrays(X, y))


def pull(module, x, y, decay=0.1):
    """Gradient of the objective without its perturbation, by autograd: ``-b`` where the perturbed one has its minimum."""
    w = module.head.weight.detach().double().requires_grad_()
    z = x.double() @ w.T
    if y.is_floating_point():
        total = ((z - y) ** 2).sum() / 2
    elif len(w) == 1:
        total = nn.functional.binary_cross_entropy_with_logits(z[:, 0], y.double(), reduction="sum")
    else:
        hot = nn.functional.one_hot(y, len(w)).double()
        total = nn.functional.binary_cross_entropy_with_logits(z, hot, reduction="sum")
    return torch.autograd.grad(total + decay * len(x) / 2 * (w**2).sum(), w)[0]


@pytest.mark.parametrize(("y", "outputs"), [(CLASSES, 3), (CLASSES % 2, 1), (REAL, 2)], ids=["rest", "two", "real"])
def test_b_is_normal_and_the_minimum_is_reached(y, outputs):
    """Minus the unperturbed gradient is ``b``: over seeds it must be normal with the standard deviation asked for."""
    found = torch.stack([-pull(trained(y, outputs, seed), X, y) for seed in range(60)])
    assert scipy.stats.kstest(found.flatten().numpy() / 0.5, "norm").pvalue > 1e-3
    drawn = 0.5 * torch.randn(outputs, WIDTH, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(found[3], drawn, rtol=0, atol=1e-4)
    module = trained(y, outputs)
    assert 0 <= module.residual.max() < 1e-5 and int(module.rows) == ROWS and not module.training


def test_ridge_in_closed_form():
    module = trained(REAL, 2, seed=1)
    b = 0.5 * torch.randn(2, WIDTH, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    x = X.double()
    expected = torch.linalg.solve(x.T @ x + 0.1 * ROWS * torch.eye(WIDTH), x.T @ REAL.double() - b.T).T
    torch.testing.assert_close(module.head.weight.detach().double(), expected, rtol=0, atol=1e-6)


def test_the_same_seed_is_the_same_model_and_nothing_global_moves():
    state = torch.get_rng_state()
    first, second, other = trained(CLASSES, 3), trained(CLASSES, 3), trained(CLASSES, 3, seed=1)
    assert weights.digest(first) == weights.digest(second) != weights.digest(other)
    assert (torch.get_rng_state() == state).all()


def test_frozen_features_stay_and_are_read_in_evaluation_mode():
    def features():
        return nn.Sequential(nn.Linear(WIDTH, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))

    torch.manual_seed(0)
    kept = features()
    module = RemovableLinear(6, 3, weight_decay=0.1, noise=0.5, features=kept).train()
    assert module.training and not module.features.training
    assert [name for name, p in module.named_parameters() if p.requires_grad] == ["head.weight"]
    assert (module(X) == module(X)).all() and (kept[1].running_mean == 0).all()


def test_the_account_travels_with_the_weights(tmp_path):
    module = trained(CLASSES, 3)
    module.account(torch.tensor([0.3, 0.0, 0.4], dtype=torch.double), 17)
    fresh = RemovableLinear(WIDTH, 3, weight_decay=9.0, noise=9.0)
    weights.load_into(fresh, weights.save(module, tmp_path / "model.safetensors"))
    assert fresh.residual.tolist() == [0.3, 0.0, 0.4] and int(fresh.rows) == 17
    assert float(fresh.noise) == 0.5 and float(fresh.weight_decay) == 0.1
    # the norm of (0.3, 0, 0.4) is 0.5 and sigma is 0.5: epsilon is c, and 1.5 exp(-c^2 / 2) is delta
    assert 1.5 * math.exp(-(fresh.epsilon(1e-3) ** 2) / 2) == pytest.approx(1e-3)


@pytest.mark.parametrize("wrong", [{"noise": 0.0}, {"decay": 0.0}])
def test_bad_input_is_one_line(wrong):
    with pytest.raises(UsageError, match="RemovableLinear takes weight_decay and noise above 0"):
        trained(CLASSES, 3, **wrong)
    with pytest.raises(UsageError, match="the rows have class 2 and the model 2 classes"):
        trained(CLASSES, 1)


def test_its_recipe_builds_what_it_trains():
    recipe = removable.recipe(lambda: RemovableLinear(WIDTH, 3, weight_decay=0.1, noise=0.5))
    assert recipe.objective == Classification() and recipe.digest == replace(recipe, seed=4).digest
    assert not recipe.module()(X).any()
