"""The margin signal, against float64 probabilities."""

import numpy as np
import pytest

from neuralyzer.signals.margin import Margin
from neuralyzer.signals.signal import Batch, Context
from tests.models.cases import CASES


@pytest.mark.parametrize("name", ["mlp", "conv", "single logit"])
def test_log_odds_of_the_rows_class(name):
    case = CASES[name]
    module, rows, holdout = case.module(), Batch(*case.rows(9)), Batch(*case.rows(5, seed=1))
    context = Context(case.objective, rows.x.std(0))
    for got, batch in zip(Margin().measure(module, rows, holdout, context), (rows, holdout), strict=True):
        logits = module(batch.x).detach().double().numpy()
        logits = np.concatenate([np.zeros_like(logits), logits], 1) if name == "single logit" else logits
        p = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[np.arange(len(batch)), batch.y]
        np.testing.assert_allclose(got, np.log(p) - np.log(1 - p), rtol=1e-4, atol=1e-5)


def test_of_regression_it_is_minus_the_log_of_the_residual():
    case = CASES["regression"]
    module, rows = case.module(), Batch(*case.rows(9))
    got, _ = Margin().measure(module, rows, rows, Context(case.objective, rows.x.std(0)))
    residual = (module(rows.x) - rows.y).detach().double().norm(dim=1).numpy()
    np.testing.assert_allclose(got, -np.log(np.sqrt(residual**2 + 0.01**2)), rtol=1e-4, atol=1e-5)
