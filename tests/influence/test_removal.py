"""Removal updates, against models really trained without the rows."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.removal import moved, predicted_outputs, removal_space
from neuralyzer.models.classification import Classification
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.progress import Silent
from neuralyzer.references.training.stacked import train_stack
from tests.influence.test_curvature import directional_losses
from tests.models.cases import CASES, Double

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(300, 12)).astype(np.float32)
NOISY = (X @ GENERATOR.normal(size=12) + GENERATOR.normal(size=300)).astype(np.float32)
WHOLE, DECAY = Data.from_arrays(X, NOISY), 0.03


def linear(weights):
    """A linear model in float64 with these weights ``(C, d)``."""
    layer = nn.Linear(weights.shape[1], len(weights), bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weights))
    return nn.Sequential(Double(), layer).eval()


def ridge(rows, penalty):
    """Minimiser of the summed squared error plus ``penalty |w|^2``, ``(1, d)``."""
    fitted = Ridge(alpha=penalty, fit_intercept=False, solver="cholesky")
    return fitted.fit(X[rows].astype(np.float64), NOISY[rows].astype(np.float64)).coef_[None]


def split(forget):
    return WHOLE.select(np.setdiff1d(np.arange(300), forget)), WHOLE.select(forget)


@pytest.mark.parametrize("size", [1, 30, 150])
def test_ridge_is_exact(size):
    """The mean loss with weight decay is scikit-learn's ridge with alpha = decay n, and decay n_R without the rows."""
    forget = np.sort(np.random.default_rng(size).choice(300, size, replace=False))
    retain, gone = split(forget)
    model = linear(ridge(np.arange(300), DECAY * 300))
    space = removal_space(model, Regression(), retain, gone, weight_decay=DECAY)
    got = moved(model, space.solve(DECAY))[1].weight.detach().numpy()
    want = ridge(retain.ids.astype(int), DECAY * len(retain))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())
    assert np.abs(model[1].weight.detach().numpy() - want).max() > 1e-3 * np.abs(want).max()


def test_the_original_is_not_changed():
    model = linear(ridge(np.arange(300), DECAY * 300))
    before = model[1].weight.clone()
    retain, gone = split(np.arange(30))
    after = moved(model, removal_space(model, Regression(), retain, gone, weight_decay=DECAY).solve(DECAY))
    assert torch.equal(model[1].weight, before) and not torch.equal(after[1].weight, before)


def test_only_trained_parameters_are_moved():
    case = CASES["frozen"]
    module, data = case.module(), Data.from_arrays(*case.rows(40))
    space = removal_space(module, case.objective, data.select(np.arange(5, 40)), data.select(np.arange(5)))
    after = moved(module, space.solve(0.1))
    assert torch.equal(after[0].weight, module[0].weight) and torch.equal(after[0].bias, module[0].bias)
    assert not torch.equal(after[2].weight, module[2].weight)


@pytest.mark.parametrize("name", ["tied", "BatchNorm"])
def test_tied_parameters_and_buffers(name):
    case = CASES[name]
    module, data = case.module(), Data.from_arrays(*case.rows(40))
    space = removal_space(module, case.objective, data.select(np.arange(5, 40)), data.select(np.arange(5)))
    after = moved(module, space.solve(0.1))
    if name == "tied":
        assert after[2].weight is after[0].weight and after[0].weight is not module[0].weight
    for key, value in module.named_buffers():
        assert torch.equal(dict(after.named_buffers())[key], value)


def test_a_curvature_of_ones_own():
    class Identity:
        def __matmul__(self, vector):
            return vector

    model = linear(ridge(np.arange(300), DECAY * 300))
    retain, gone = split(np.arange(30))
    got = removal_space(model, Regression(), retain, gone, curvature=Identity()).solve(1.0)
    w = model[1].weight.detach().numpy()[0]
    gradient = (X[:30].astype(float) @ w - NOISY[:30]) @ X[:30] / 270
    np.testing.assert_allclose(got, gradient / 2, rtol=1e-6)


CLUSTERS = GENERATOR.normal(size=(3, 8)) * 1.2
LABELS = GENERATOR.integers(0, 3, 2000)
POINTS = (CLUSTERS[LABELS] + GENERATOR.normal(size=(2000, 8))).astype(np.float32)


def logistic(rows, start=None):
    """Weights ``(3, 8)`` at the minimum of the mean cross-entropy with weight decay, by L-BFGS in float64."""
    x, y = POINTS[rows].astype(np.float64), LABELS[rows]

    def objective(flat):
        w = flat.reshape(3, 8)
        logits = x @ w.T
        logits -= logits.max(1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean() + 0.5 * 0.01 * flat @ flat
        p[np.arange(len(y)), y] -= 1
        return loss, (p.T @ x / len(y)).ravel() + 0.01 * flat

    start = np.zeros(24) if start is None else start.ravel()
    found = scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-12, "maxiter": 5000}
    )
    assert np.abs(found.jac).max() < 1e-8
    return found.x.reshape(3, 8)


def logistic_errors(sizes=(2, 10, 20), draws=4):
    """Relative error of the parameters' predicted change, by group."""
    data, full = Data.from_arrays(POINTS, LABELS), logistic(np.arange(2000))
    model = linear(full)
    errors = []
    for size in sizes:
        for seed in range(draws):
            # half of the draws take the rows of one class that lie farthest out
            far = np.argsort(-np.linalg.norm(POINTS - CLUSTERS[LABELS], axis=1))[:200]
            pool = far[LABELS[far] == seed % 3] if seed % 2 else np.arange(2000)
            forget = np.sort(np.random.default_rng(seed).choice(pool, size, replace=False))
            rest = np.setdiff1d(np.arange(2000), forget)
            space = removal_space(model, Classification(), data.select(rest), data.select(forget), weight_decay=0.01)
            predicted = space.solve(0.01).numpy().reshape(3, 8)
            real = logistic(rest, full) - full
            errors.append(np.linalg.norm(predicted - real) / np.linalg.norm(real))
    return errors


def test_logistic_regression_within_five_hundredths():
    """Groups of up to one row in a hundred, the unusual ones among them."""
    assert max(logistic_errors()) < 0.05


SEEDS = [11, 12, 13, 14]
GROUPS, GROUP_ROWS = 50, 30


def digits_network():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def changes_on_digits(damping=1e-3, products=40):
    """Each group's own mean loss, and its change as predicted and as retrained, averaged over seeds."""
    bunch = load_digits()
    data = Data.from_arrays((bunch.data[:1437] / 16).astype(np.float32), bunch.target[:1437])
    recipe = Recipe(build=digits_network, epochs=60, batch_size=32)
    generator = np.random.default_rng(0)
    groups = [np.sort(generator.choice(1437, GROUP_ROWS, replace=False)) for _ in range(GROUPS)]
    rest = [np.setdiff1d(np.arange(1437), group) for group in groups]
    everything = [np.arange(1437)] * len(SEEDS)
    bases = train_stack(recipe, data, everything, SEEDS, Silent())
    objective = Classification()

    def losses(module, rows):
        with torch.no_grad():
            x, y = data.gather(rows)
            return float(objective.losses(module(x), y).mean())

    before, real, predicted = np.zeros((3, GROUPS))
    for seed, base in zip(SEEDS, bases, strict=True):
        retrained = train_stack(recipe, data, rest, [seed] * GROUPS, Silent())
        for at, group in enumerate(groups):
            before[at] += losses(base, group) / len(SEEDS)
            real[at] += (losses(retrained[at], group) - losses(base, group)) / len(SEEDS)
            space = removal_space(base, objective, data.select(rest[at]), data.select(group), products)
            direction = space.solve(damping)
            moving = directional_losses(base, objective, data.select(group), direction).mean()
            predicted[at] += float(moving) / len(SEEDS)
    return before, predicted, real


@pytest.mark.slow
def test_groups_of_digits_rank_as_when_retrained():
    """Koh and Liang 2017's test, for 50 random groups of 30 rows, losses averaged over 4 seeds."""
    before, predicted, real = changes_on_digits()
    spearman = scipy.stats.spearmanr(predicted, real).statistic
    assert spearman > 0.8
    assert spearman > scipy.stats.spearmanr(before, real).statistic + 0.05  # than what needs no influence at all
    assert 0.4 < predicted.mean() / real.mean() < 2  # and about as large


def test_predicted_outputs_of_a_linear_model_are_its_first_order_update():
    """``x (theta + (H + lambda I)^-1 X_F'(X_F theta - y_F) / n_R)``, with the factors' own ``H`` written out."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 4, generator=generator), torch.randn(300, 1, generator=generator)
    module = nn.Linear(4, 1, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.linalg.lstsq(x, y).solution.T)
    data, asked = Data.from_arrays(x, y), torch.randn(5, 4, generator=generator)
    factors = ekfac(module, Regression(), data)
    damping = 0.05 * factors.largest
    found = predicted_outputs(module, Regression(), data.select(range(20)), 280, factors, damping, asked)
    (block,) = factors.blocks
    h = (block.inputs @ torch.diag(block.values[0]) @ block.inputs.T).double()
    theta = module.weight.detach()[0].double()
    gradient = x[:20].double().T @ (x[:20].double() @ theta - y[:20, 0].double())
    expected = asked.double() @ (theta + torch.linalg.solve(h + damping * torch.eye(4), gradient) / 280)
    torch.testing.assert_close(found[:, 0].double(), expected, rtol=1e-4, atol=1e-5)
    assert (expected - asked.double() @ theta).abs().max() > 0.05  # what is told apart is not nothing
