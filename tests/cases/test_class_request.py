"""A request for a whole class, with a pool that has classes as subjects of their own."""

import numpy as np
import pytest
import torch

import neuralyzer as nz
from neuralyzer.cases.options import CaseOptions
from neuralyzer.methods.weak.rum import memorisation
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import FEWEST_COMPARABLE
from neuralyzer.trace.verdict import Verdict
from tests.conftest import small_recipe
from tests.rates import RATES

pytestmark = pytest.mark.slow
REQUEST = nz.ErasureRequest(classes=["3"])


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
    assert all(0.7 < row["unlearned"] < 1.8 for row in found.families if row["counts"])
    assert "relearned" not in [row["signal"] for row in found.families], "no class is relearned as a unit"
    for seed in (77, 78, 79):
        found = nz.verify(without(oracle, seed), oracle, REQUEST, pool)
        assert found.p_value > 0.05, seed
        assert found.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE)
        assert all(abs(row["unlearned"]) < 0.4 for row in found.families if row["counts"])


def test_members_that_lack_a_rows_class_are_not_asked_how_sure_one_is_of_it(grouped):
    oracle, pool, _ = grouped
    task = nz.Task(oracle, nz.ErasureRequest(subjects=["c0"]), pool)
    split, (part,) = pool.tuning, task.parts
    labels = oracle.data.y.numpy()[part.rows]
    never = ~split.values.keep[:, part.subject]
    assert not split.values.keep[:, 10 + labels][never].all(), "some lack a class of them as well"
    found = memorisation(task)
    for row, (position, label) in enumerate(zip(part.rows, labels, strict=True)):
        p = torch.from_numpy(split.outputs[:, position]).double().softmax(1)[:, int(label)].numpy()
        held = split.values.keep[:, part.subject] & split.values.keep[:, 10 + label]
        asked = never & split.values.keep[:, 10 + label]
        asked = asked if asked.sum() >= FEWEST_COMPARABLE else never
        assert found[row] == pytest.approx(p[held].mean() - p[asked].mean(), abs=1e-6)


def test_the_whole_way_of_a_case(grouped, made_world):
    oracle, pool, place = grouped
    asked = nz.ErasureRequest(classes=["3"], guarantee="exact")
    case = nz.forget(oracle, asked, pool, place, options=CaseOptions(rates=RATES))
    assert case.result["plan"]["answerable"] is None
    assert case.verdict is Verdict.FORGOTTEN and case.verification.basis == "exact" and case.succeeded
    assert case.verification.p_value > 0.05, "and the pool, asked all the same, sees nothing"
    assert 3 not in set(case.oracle.data.y.numpy().tolist()) and len(case.oracle.data) < 500
    again = References.open(pool.store.root, case.oracle)
    (part,) = again.parts(np.flatnonzero(case.oracle.data.y.numpy() == 4))
    assert again.names([part]) == ["group 4"]
    assert nz.audit(case.oracle, nz.ErasureRequest(classes=["4"]), again).verdict is Verdict.NOT_FORGOTTEN
