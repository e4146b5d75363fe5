"""The fisher signal, against one explicit gradient a row."""

import torch

from neuralyzer.signals.fisher import Fisher
from neuralyzer.signals.signal import Batch, Context
from tests.models.cases import CASES
from tests.models.test_reading import squared_norms


def test_minus_log_of_the_squared_gradient_norm(case, context, rows, holdout):
    module = case.module()
    for got, batch in zip(Fisher().measure(module, rows, holdout, context), (rows, holdout), strict=True):
        want = -squared_norms(module.double(), case.objective, batch.x.double(), batch.y).log()
        module.float()
        torch.testing.assert_close(got, want.float(), rtol=1e-4, atol=1e-4)


def test_a_gradient_that_vanishes_reads_finite():
    case = CASES["single logit"]
    module = case.module()
    with torch.no_grad():
        module[2].bias.fill_(200.0)
    rows = Batch(case.rows(3)[0], torch.ones(3, dtype=torch.int64))
    got, _ = Fisher().measure(module, rows, rows, Context(case.objective, torch.ones(6)))
    torch.testing.assert_close(got, torch.full((3,), 30 * torch.tensor(10.0).log().item()))
