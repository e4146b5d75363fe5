"""A regression from the request to the certificate."""

from dataclasses import replace

import numpy as np
from torch import nn

import neuralyzer as nz
from neuralyzer.cases.options import CaseOptions
from neuralyzer.certificates.check import check
from neuralyzer.registry.manifests import register_dataset
from tests.rates import RATES

# A retraining takes too long for the request, influence does not.
SLOW = replace(RATES, step=0.05)


def rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 6)).astype(np.float32)
    y = (x @ generator.normal(size=6) + generator.normal(size=400)).astype(np.float32)[:, None]
    subjects = np.array([f"s{number}" for number in range(10)]).repeat(20)
    ids = np.char.add("r", np.arange(400).astype(str))
    y[:20] += 5  # s0's rows can only be memorised
    return nz.Data.from_arrays(x[:200], y[:200], subjects, ids[:200]), nz.Data.from_arrays(
        x[200:], y[200:], ids=ids[200:]
    )


def build():
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))


def test_a_regression_is_made_to_forget_and_certified(tmp_path):
    data, holdout = rows()
    register_dataset(tmp_path, "train", data)
    oracle = nz.TrainedModel.fit(nz.Recipe(build, nz.Regression(), epochs=60, batch_size=20), data, holdout)
    pool = nz.References.fit(oracle, 48, workspace=tmp_path, backend="vectorised")
    place = nz.Workspace(tmp_path, nz.Policy(max_utility_loss=0.5))
    case = nz.forget(
        oracle, nz.ErasureRequest(subjects=["s0"], budget=5.0), pool, place, options=CaseOptions(rates=SLOW)
    )
    result = case.to_dict()
    assert result["located"]["rows"] == 20 and case.audit.verdict == "not forgotten"
    assert case.verdict == "forgotten" and case.succeeded and case.verification.basis != "exact"
    assert check(case.certificate, case.weights).ok and "<html" in case.report.read_text()
    assert "holdout_rmse" in result["utility"]
