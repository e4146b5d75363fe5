"""A request for a whole class, with a pool that has classes as subjects of their own."""

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.cases.forget import Wish
from neuralyzer.references.pool import References
from neuralyzer.trace.verdict import Verdict
from tests.cases.test_forget import RATES
from tests.conftest import small_recipe

REQUEST = nz.ErasureRequest(classes=["3"], budget=2.0)


@pytest.fixture(scope="module")
def grouped(made_world, tmp_path_factory):
    oracle = made_world.oracle
    place = tmp_path_factory.mktemp("grouped")
    pool = References.fit(oracle, 48, leave_out=0.25, groups=("class",), workspace=place, backend="vectorised")
    return oracle, pool, place


def without(oracle, seed):
    return nz.TrainedModel.fit(small_recipe(seed=seed), oracle.data.select(oracle.data.y.numpy() != 3)).model


def test_the_original_is_found_and_a_model_without_the_class_is_not_accused(grouped):
    oracle, pool, _ = grouped
    (part,) = pool.parts(REQUEST.positions(oracle.data))
    assert part.subject == 10 + 3 and pool.names([part]) == ["group 3"]
    assert (oracle.data.y.numpy()[part.rows] == 3).all()
    assert nz.audit(oracle, REQUEST, pool).verdict is Verdict.NOT_FORGOTTEN
    found = nz.verify(oracle.model, oracle, REQUEST, pool)
    assert found.verdict is Verdict.NOT_FORGOTTEN
    assert all(row["unlearned"] == pytest.approx(1, abs=0.35) for row in found.families if row["counts"])
    assert "relearned" not in [row["signal"] for row in found.families], "no class is relearned as a unit"
    for seed in (77, 78, 79):
        found = nz.verify(without(oracle, seed), oracle, REQUEST, pool)
        assert found.p_value > 0.05, seed
        assert found.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE)
        assert all(abs(row["unlearned"]) < 0.4 for row in found.families if row["counts"])


def test_the_whole_way_of_a_case(grouped, made_world):
    oracle, pool, place = grouped
    policy = nz.Workspace(place, nz.Policy(max_utility_loss=0.3))
    case = nz.forget(oracle, REQUEST, pool, policy, wish=Wish(rates=RATES))
    assert case.result["plan"]["answerable"] is None and case.succeeded
    assert case.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE)
    assert 3 not in set(case.oracle.data.y.numpy().tolist()) and len(case.oracle.data) < 500
    again = References.open(pool.store.root, case.oracle)
    asked = nz.ErasureRequest(classes=["4"])
    (part,) = again.parts(asked.positions(case.oracle.data))
    assert again.names([part]) == ["group 4"] and np.isin(part.rows, np.arange(len(case.oracle.data))).all()
    assert nz.audit(case.oracle, asked, again).verdict is Verdict.NOT_FORGOTTEN
