"""Data without subject ids, without a holdout, and with duplicates in the holdout, from locate to forget."""

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.registry.manifests import register_dataset
from tests.conftest import small_digits, small_recipe

REQUEST = nz.ErasureRequest(rows=["3", "7", "11"], guarantee="exact")
RECIPE = small_recipe(epochs=3)


def rows(*, holdout, copies=0):
    """The small digits as plain arrays; ``copies`` of the training rows stand in the holdout too."""
    data, beyond = small_digits()
    x, y = beyond.x.numpy(), beyond.y.numpy()
    x, y = np.concatenate([x, data.x.numpy()[:copies]]), np.concatenate([y, data.y.numpy()[:copies]])
    train = nz.Data.from_arrays(data.x.numpy(), data.y.numpy())
    return train, nz.Data.from_arrays(x, y) if holdout else None


@pytest.mark.parametrize("holdout", [True, False], ids=["holdout", "no holdout"])
def test_rows_without_subjects_are_found_and_forgotten(tmp_path, holdout):
    data, beyond = rows(holdout=holdout)
    register_dataset(tmp_path, "train", data)
    oracle = nz.TrainedModel.fit(RECIPE, data, beyond)
    found = nz.locate(REQUEST, tmp_path, data)
    assert found.rows == 3 and [hit.rows for hit in found.datasets] == [3]
    assert nz.audit(oracle, REQUEST, None).verdict == "inconclusive"
    case = nz.forget(oracle, REQUEST, None, tmp_path)
    assert case.succeeded and case.verdict == "forgotten" and case.verification.basis == "exact"
    assert len(case.oracle.data) == len(data) - 3 and case.certificate.exists() and case.report.exists()
    assert (case.to_dict()["utility"]["holdout_accuracy"]["unlearned"] is None) == (not holdout)


def test_a_holdout_that_repeats_training_rows_is_thinned_and_counted(tmp_path):
    data, beyond = rows(holdout=True, copies=20)
    oracle = nz.TrainedModel.fit(RECIPE, data, beyond)
    assert oracle.dropped == 20 and len(oracle.holdout) == 300
    assert nz.locate(REQUEST, tmp_path, data).rows == 3
    assert nz.audit(oracle, REQUEST, None).verdict == "inconclusive"
    assert nz.forget(oracle, REQUEST, None, tmp_path).succeeded
