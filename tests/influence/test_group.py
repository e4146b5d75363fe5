"""Removing groups, against models really trained again."""

import numpy as np
import pytest
import scipy.optimize
import torch
from sklearn.linear_model import Ridge
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.influence.curvature import GaussNewton
from neuralyzer.influence.group import removed
from neuralyzer.influence.removal import moved, removal_space
from neuralyzer.models import reading
from neuralyzer.models.classification import Classification
from neuralyzer.models.regression import Regression
from tests.models.cases import Double

GENERATOR = np.random.default_rng(0)
CENTRES = GENERATOR.normal(size=(3, 8)) * 0.8
LABELS = GENERATOR.integers(0, 3, 600)
POINTS = (CENTRES[LABELS] + GENERATOR.normal(size=(600, 8))).astype(np.float32)
DATA, DECAY = Data.from_arrays(POINTS, LABELS), 0.03
TARGET = Data.from_arrays(*(part[500:] for part in (POINTS, LABELS)))
FAR = np.argsort(-POINTS[:500] @ CENTRES[0], kind="stable")
GROUPS = {f"random {seed}": np.sort(np.random.default_rng(seed).choice(500, 50, replace=False)) for seed in range(4)}
GROUPS["one class"] = np.flatnonzero(LABELS[:500] == 1)[:50]
GROUPS["far out"] = np.sort(FAR[LABELS[:500][FAR] == 0][:50])  # a coherent group: the farthest out of a class


def logistic(rows):
    """Weights ``(3, 8)`` at the minimum of the mean cross-entropy with weight decay."""
    x, y = POINTS[rows].astype(np.float64), LABELS[rows]

    def objective(flat):
        logits = x @ flat.reshape(3, 8).T
        p = np.exp(logits - np.logaddexp.reduce(logits, 1)[:, None])
        loss = -np.log(p[np.arange(len(y)), y]).mean() + 0.5 * DECAY * flat @ flat
        p[np.arange(len(y)), y] -= 1
        return loss, (p.T @ x / len(y)).ravel() + DECAY * flat

    options = {"ftol": 0, "gtol": 1e-11, "maxiter": 5000}
    found = scipy.optimize.minimize(objective, np.zeros(24), jac=True, method="L-BFGS-B", options=options)
    assert np.abs(found.jac).max() < 1e-7
    return found.x.reshape(3, 8)


def linear(weights):
    layer = nn.Linear(weights.shape[1], len(weights), bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weights))
    return nn.Sequential(Double(), layer).eval()


def losses(module, objective, target):
    return reading.mean_loss(module, objective, target)


@pytest.fixture(scope="module")
def full():
    return logistic(np.arange(500))


@pytest.mark.parametrize("name", list(GROUPS))
def test_a_tenth_of_a_logistic_regressions_rows_is_removed_within_five_hundredths(full, name):
    group, model = GROUPS[name], linear(full)
    rest = np.setdiff1d(np.arange(500), group)
    without = logistic(rest)
    real = (without - full).ravel()
    change = removed(
        model, Classification(), DATA.select(rest), DATA.select(group), DECAY, products=24, weight_decay=DECAY
    )
    koh_liang = removal_space(
        model, Classification(), DATA.select(rest), DATA.select(group), 24, DECAY,
        GaussNewton(model, Classification(), DATA.select(range(500))),
    )  # fmt: skip
    steps = (koh_liang.solve(DECAY), change.first, change.whole)
    errors = [np.linalg.norm(step.numpy() - real) / np.linalg.norm(real) for step in steps]
    assert errors[2] < 0.02 and errors[2] < 0.25 * errors[1] and errors[1] < 0.8 * errors[0]
    after = [losses(linear(w), Classification(), TARGET) for w in (full, without)]
    assert change.of_loss(model, Classification(), TARGET) == pytest.approx(after[1] - after[0], rel=0.05, abs=1e-5)


REALS = (POINTS @ GENERATOR.normal(size=8) + GENERATOR.normal(size=600)).astype(np.float32)
REAL = Data.from_arrays(POINTS, REALS)


def ridge(rows):
    fitted = Ridge(alpha=DECAY * len(rows), fit_intercept=False, solver="cholesky")
    return fitted.fit(POINTS[rows].astype(np.float64), REALS[rows].astype(np.float64)).coef_[None]


@pytest.mark.parametrize("size", [20, 250])
def test_ridge_is_exact_whatever_the_groups_size(size):
    rest, group = np.arange(500 - size), np.arange(500 - size, 500)
    whole, without = ridge(np.arange(500)), ridge(rest)
    change = removed(linear(whole), Regression(), REAL.select(rest), REAL.select(group), DECAY, weight_decay=DECAY)
    np.testing.assert_allclose(change.whole.numpy(), (without - whole)[0], rtol=0, atol=1e-6 * np.abs(without).max())
    assert np.abs(without - whole).max() > 1e-3 * np.abs(without).max() and not change.second.any()


def test_small_groups_change_as_the_papers_series_says():
    """Basu et al.'s two terms, with dense matrices."""
    for size in (10, 20):
        rest, group = np.arange(500 - size), np.arange(500 - size, 500)
        start = ridge(np.arange(500))
        moments = [POINTS[rows].astype(float).T @ POINTS[rows] / len(rows) for rows in (np.arange(500), group)]
        h, own = (moment + DECAY * np.eye(8) for moment in moments)
        gradient = own @ start[0] - POINTS[group].astype(float).T @ REALS[group] / size
        q = size / (500 - size)
        first = q * np.linalg.solve(h, gradient)
        series = first + q * (np.linalg.solve(h, own @ first) - first)
        change = removed(linear(start), Regression(), REAL.select(rest), REAL.select(group), DECAY, weight_decay=DECAY)
        left = np.linalg.norm(change.whole.numpy() - series)
        assert left < 0.2 * np.linalg.norm(series - first) and left < 0.01 * np.linalg.norm(first)


def test_the_module_is_not_changed(full):
    model = linear(full)
    before = model[1].weight.clone()
    change = removed(model, Classification(), DATA.select(range(450)), DATA.select(range(450, 500)), DECAY)
    assert not torch.equal(moved(model, change.whole)[1].weight, before)
    assert torch.equal(model[1].weight, before)
