"""Rows without subjects: each is its own. Requests of one row, and of a hundred subjects at once."""

import numpy as np
import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.pool import References
from neuralyzer.references.training import stacked
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.audit import audit
from neuralyzer.verification.verify import verify
from neuralyzer.workspace.paths import Workspace
from tests.conftest import small_digits, small_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows_alone(tmp_path_factory):
    given, holdout = small_digits()
    data = Data.from_arrays(given.x.numpy(), given.y.numpy(), ids=given.ids)
    oracle = TrainedModel.fit(small_recipe(), data, holdout)
    place = Workspace(tmp_path_factory.mktemp("rows"))
    return oracle, References.fit(oracle, 48, leave_out=0.25, workspace=place, backend="vectorised")


def test_one_row_is_a_request_and_mostly_untraceable(rows_alone):
    oracle, references = rows_alone
    words = [audit(oracle, ErasureRequest(rows=[f"r{k}"]), references) for k in range(5, 65, 5)]
    assert all("relearned" in found.not_measured for found in words)
    assert sum(found.verdict is Verdict.UNTRACEABLE for found in words) >= 6
    assert all(found.rows == 1 and found.detectable is None or found.detectable <= 1 for found in words)


def test_a_hundred_subjects_at_once(rows_alone):
    """One row traces nothing, a hundred do; models really retrained without them are not rejected."""
    oracle, references = rows_alone
    chosen = np.random.default_rng(3).permutation(500)[:100]
    request = ErasureRequest(rows=[f"r{k}" for k in chosen])
    found = audit(oracle, request, references)
    assert found.verdict is Verdict.NOT_FORGOTTEN
    traces = {row["signal"]: row["trace"] for row in found.families}
    assert 0.6 < traces["margin"] < 1.5
    rest = np.setdiff1d(np.arange(500), chosen)
    models = stacked.train_stack(oracle.recipe, oracle.data, [rest] * 6, list(range(900, 906)), Silent())
    verdicts = [verify(model, oracle, request, references) for model in models]
    assert sum(own.verdict is Verdict.NOT_FORGOTTEN for own in verdicts) <= 1
    assert all(own.judges == "pool" for own in verdicts)
