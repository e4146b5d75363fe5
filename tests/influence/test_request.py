"""What a request's rows do: against rows really left out of a logistic regression, and by hand for a regressor."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from torch import nn

import neuralyzer as nz
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.request import HOLDOUT_ROWS, request_influence
from neuralyzer.influence.scores import row_scores, self_scores
from neuralyzer.models import reading
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel
from tests.influence.test_group import CENTRES, DATA, LABELS, POINTS, REALS, linear
from tests.models.cases import CASES

ROWS = Data.from_arrays(POINTS[:500], LABELS[:500], subjects=np.arange(500) // 10)
FRESH = np.random.default_rng(5)
FRESH_LABELS = FRESH.integers(0, 3, 300)
FRESH_POINTS = (CENTRES[FRESH_LABELS] + FRESH.normal(size=(300, 8))).astype(np.float32)
FRESH_REALS = FRESH.normal(size=300).astype(np.float32)
HOLDOUT = Data.from_arrays(FRESH_POINTS, FRESH_LABELS, ids=[f"h{k}" for k in range(300)])


def oracle(module, objective=None, rows=ROWS, holdout=HOLDOUT):
    recipe = nz.Recipe(lambda: module, **({} if objective is None else {"objective": objective}))
    return TrainedModel(module, recipe, rows, holdout)


def logistic(rows):
    """Weights ``(3, 8)`` at the minimum of the mean cross-entropy."""
    fitted = LogisticRegression(C=1e7, fit_intercept=False, tol=1e-10, max_iter=1000)
    return fitted.fit(POINTS[rows].astype(np.float64), LABELS[rows]).coef_


def least_squares(rows):
    return np.linalg.lstsq(POINTS[rows].astype(np.float64), REALS[rows], rcond=None)[0][None]


@pytest.fixture(scope="module")
def model():
    return linear(logistic(np.arange(500)))


def test_rows_change_the_holdout_as_retraining_without_each_says(model):
    """Thirty rows, each left out for itself of the logistic regression, solved to its minimum."""
    chosen = np.arange(0, 300, 10)
    found = {row.id: row for row in request_influence(oracle(model), chosen, damping=1e-6).rows}
    before = reading.mean_loss(model, nz.Classification(), HOLDOUT)
    real, own = [], []
    for row in chosen:
        without = linear(logistic(np.setdiff1d(np.arange(500), [row])))
        real.append(reading.mean_loss(without, nz.Classification(), HOLDOUT) - before)
        one = DATA.select([row])
        own.append(
            reading.mean_loss(without, nz.Classification(), one) - reading.mean_loss(model, nz.Classification(), one)
        )
    ids = [str(ROWS.ids[row]) for row in chosen]
    assert spearmanr([found[name].holdout_loss for name in ids], real).statistic > 0.9
    assert spearmanr([found[name].own_loss for name in ids], own).statistic > 0.95
    assert np.polyfit([found[name].own_loss for name in ids], own, 1)[0] == pytest.approx(1, abs=0.4)


def test_all_together_are_the_retraining_without_all(model):
    group = np.flatnonzero(LABELS[:500] == 1)[:50]
    found = request_influence(oracle(model), group, damping=1e-6)
    without = linear(logistic(np.setdiff1d(np.arange(500), group)))
    before, after = (reading.mean_loss(own, nz.Classification(), HOLDOUT) for own in (model, without))
    assert found.holdout_loss == pytest.approx(before) and found.holdout_rows == 300 and found.training_rows == 500
    assert found.second_order == pytest.approx(after - before, rel=0.15)
    assert abs(found.second_order - (after - before)) < abs(found.first_order - (after - before))
    answers = [reading.outputs(own, nz.Classification(), HOLDOUT.x).argmax(1).numpy() for own in (model, without)]
    changed = {f"h{k}" for k in np.flatnonzero(answers[0] != answers[1])}
    predicted = {answer.id: answer for answer in found.answers}
    assert changed and len(changed & predicted.keys()) >= 0.7 * len(changed | predicted.keys())
    for name, answer in predicted.items():
        assert answer.before == answers[0][int(name[1:])] != answer.after


def test_rows_are_in_the_order_of_what_they_do_and_are_plain_values(model):
    found = request_influence(oracle(model), np.arange(20))
    assert [row.id for row in found.rows] == [
        row.id for row in sorted(found.rows, key=lambda row: -abs(row.holdout_loss))
    ]
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["id"] == found.rows[0].id
    assert all(row.own_loss >= 0 and abs(row.change) >= row.answers >= 0 for row in found.rows)


def test_a_regressors_answers_are_its_predictions(model):
    rows = Data.from_arrays(POINTS[:500], REALS[:500])
    holdout = Data.from_arrays(FRESH_POINTS, FRESH_REALS, ids=[f"h{k}" for k in range(300)])
    own = linear(least_squares(np.arange(500)))
    found = request_influence(oracle(own, Regression(), rows, holdout), np.arange(40), damping=1e-6)
    without = linear(least_squares(np.arange(40, 500)))
    real = [reading.outputs(each, Regression(), holdout.x)[:, 0].numpy() for each in (own, without)]
    assert len(found.answers) == 10
    for answer in found.answers:
        place = int(answer.id[1:])
        assert answer.before == pytest.approx(real[0][place])
        assert answer.after - answer.before == pytest.approx(real[1][place] - real[0][place], rel=0.5, abs=0.01)


@pytest.mark.parametrize("name", ["mlp", "conv", "regression", "single logit"])
def test_self_influence_is_the_diagonal_of_the_scores(name):
    case = CASES[name]
    module, rows = case.module(), Data.from_arrays(*case.rows(30))
    factors = ekfac(module, case.objective, rows)
    every = row_scores(module, case.objective, rows, rows, factors, 0.05)
    for chunk in (7, 256):
        got = self_scores(module, case.objective, rows, factors, 0.05, chunk)
        torch.testing.assert_close(got, every.diagonal(), rtol=1e-4, atol=1e-6)


def test_a_large_holdout_is_sampled(model):
    many = Data.from_arrays(np.tile(FRESH_POINTS, (8, 1)), np.tile(FRESH_LABELS, 8))
    found = request_influence(oracle(model, holdout=many), np.arange(5))
    assert found.holdout_rows == HOLDOUT_ROWS < len(many)


def test_what_has_no_influence_is_refused_in_one_line(model):
    with pytest.raises(UsageError, match="names every training row"):
        request_influence(oracle(model), np.arange(500))

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 8))

        def forward(self, x):
            return x @ self.weight.T

    with pytest.raises(UsageError, match="has no influence: it needs gradients"):
        request_influence(oracle(Bare()), np.arange(3))
