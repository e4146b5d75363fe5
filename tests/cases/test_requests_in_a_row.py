"""Ten requests in a row on one lineage: each is judged with one look of its own, and the null does not run dry."""

import numpy as np
import pytest
from torch import nn

import neuralyzer as nz
from neuralyzer.cases import attempt as attempts
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.rows import Data
from neuralyzer.methods.strong.influence import Influence
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.trace.verdict import FIRST_ACCESS, SECOND_ACCESS, Verdict
from tests.conftest import small_digits, small_recipe
from tests.rates import RATES

pytestmark = pytest.mark.slow
SUBJECTS, REQUESTS = 16, 10


def build():
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


def recipe(**changes):
    return small_recipe(build=build, epochs=60, **changes)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory):
    """A model of sixteen customers, and its pool: every customer has something that must be remembered."""
    data, holdout = small_digits()
    owners = np.array([f"c{k:02d}" for k in np.random.default_rng(5).permutation(len(data)) % SUBJECTS])
    y, generator = data.y.numpy().copy(), np.random.default_rng(6)
    wrong = generator.random(len(y)) < 0.6
    y[wrong] = (y[wrong] + generator.integers(1, 10, wrong.sum())) % 10
    oracle = TrainedModel.fit(recipe(), Data.from_arrays(data.x.numpy(), y, owners, data.ids), holdout)
    place = tmp_path_factory.mktemp("lineage")
    References.fit(oracle, 48, leave_out=0.25, workspace=place, backend="vectorised")
    return oracle, place


def retrained(task):
    return TrainedModel.fit(recipe(seed=77 + len(task.retain)), task.retain).model


def nulls(references):
    """Critical values and how many scores they rest on, by signal, of the evaluation split."""
    estimator = TraceEstimator(
        references.evaluation, references.parts(np.flatnonzero(references.oracle.data.subjects == "c15")), 0.05
    )
    return {name: (estimator.tables[name].critical, len(estimator.tables[name].pooled)) for name in estimator.signals}


def test_the_tenth_request_is_judged_like_the_first(lineage, monkeypatch):
    """Influence stands for a method that in truth forgets, so that each verdict is the test's and ought to be good.

    By the tenth, six in ten rows are gone and the model is a noisier one than any member; that, and not the null,
    is what detectable traces grow with.
    """
    monkeypatch.setattr(Influence, "unlearn", lambda self, task, progress=None: retrained(task))
    quantiles, verify = [], attempts.verify
    monkeypatch.setattr(attempts, "verify", lambda *a, **given: quantiles.append(given["found"]) or verify(*a, **given))
    oracle, place = lineage
    (folder,) = (place / "references").iterdir()
    policy = nz.Workspace(place, nz.Policy(max_utility_loss=0.3))
    before, cases = nulls(References.open(folder, oracle)), []
    for number in range(REQUESTS + 1):
        pool, name = References.open(folder, oracle), f"c{number:02d}"
        assert pool.access_log.count(oracle.lineage, [name]) == 0, "a subject's looks are its own"
        if number == REQUESTS:
            pool.access_log.record(oracle.lineage, [name])
        case = nz.forget(
            oracle, nz.ErasureRequest(subjects=[name], budget=2.0), pool, policy, options=CaseOptions(rates=RATES)
        )
        cases.append(case)
        assert (
            case.verification.basis == "statistical" and case.succeeded and name not in set(case.oracle.data.subjects)
        )
        oracle = case.oracle
    assert [case.verification.looks for case in cases] == [1] * REQUESTS + [2]
    assert quantiles == [FIRST_ACCESS] * REQUESTS + [SECOND_ACCESS] == [1.960] * REQUESTS + [2.241]
    first, tenth = cases[0].verification, cases[REQUESTS - 1].verification
    assert {case.verdict for case in cases[:REQUESTS]} == {Verdict.FORGOTTEN}
    assert tenth.detectable < min(1, 1.75 * first.detectable)
    assert all(row["original"] == pytest.approx(1, abs=0.3) for row in tenth.families), "the trace is there to be found"
    after = nulls(References.open(folder, oracle))
    assert {name: count for name, (_, count) in after.items()} == dict.fromkeys(before, SUBJECTS * 6)
    assert {name: value for name, (value, _) in after.items()} == pytest.approx(
        {name: value for name, (value, _) in before.items()}, rel=0.05
    )
