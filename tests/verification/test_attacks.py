"""LiRA and RMIA beside the trace: on the original, on what was unlearned, and how they are written and shown."""

import json
from dataclasses import replace

import pytest

import neuralyzer as nz
from neuralyzer.models import weights
from neuralyzer.references.measurement.evaluator import Evaluator
from neuralyzer.references.pool import References
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.verification.attacks import NAMES, REFERENCES, Attacks, attacks
from neuralyzer.verification.audit import Audit, audit
from neuralyzer.verification.verification import Verification
from neuralyzer.verification.verify import verify
from tests.references import world
from tests.verification.test_audit import render

REQUEST = nz.ErasureRequest(subjects=["c0"])


def line(found, attack, model, unit="row"):
    (only,) = [s for s in found.scores if (s["attack"], s["model"], s["unit"]) == (attack, model, unit)]
    return only


@pytest.fixture(scope="module")
def verified(setting, retrained):
    oracle, references = setting
    return verify(retrained, oracle, REQUEST, references)


def test_the_original_gives_itself_away_and_a_retrained_model_does_not(verified):
    found = verified.attacks
    for attack in NAMES:
        before, after = line(found, attack, "original"), line(found, attack, "unlearned")
        assert before["positives"] == after["positives"] == 40
        assert before["auc_low"] > 0.6 and before["auc"] - after["auc"] > 0.15 and after["auc"] < 0.65
        assert before["auc_low"] <= before["auc"] <= before["auc_high"]
        subject = line(found, attack, "original", "subject")
        assert subject["percentile"] >= 0.9 and subject["score"] > line(found, attack, "unlearned", "subject")["score"]
        assert line(found, attack, REFERENCES)["auc"] > 0.5 and line(found, attack, REFERENCES)["score"] is None


def test_the_audit_reads_the_tuning_half(setting, verified):
    oracle, references = setting
    found = audit(oracle, REQUEST, references).attacks
    assert {s["model"] for s in found.scores} == {REFERENCES, "original"}
    assert found.members == references.tuning.values.members
    assert line(found, "lira-online", REFERENCES) != line(verified.attacks, "lira-online", REFERENCES)


def test_no_model_is_read_for_it_again(setting, retrained, monkeypatch):
    oracle, references = setting
    protocol = audit(oracle, REQUEST, references).protocol
    calls, asked, read = [], [], Evaluator._read

    def spied(self, model, parts, names, holdout):
        calls.append(model)
        asked.append((tuple(part.subject for part in parts), tuple(names)))
        return read(self, model, parts, names, holdout)

    monkeypatch.setattr(Evaluator, "_read", spied)
    model = weights.clone(retrained)  # which no test has read
    assert verify(model, oracle, REQUEST, references, protocol=protocol).attacks is not None
    assert set(map(id, calls)) == {id(model)}, "the original was read by the audit"
    assert len(calls) == len(set(asked)), "on the request once, and once by each signal on who was not asked for"
    estimator = TraceEstimator(references.evaluation, references.parts(REQUEST.positions(oracle.data)), 0.05)
    assert attacks(estimator, {"original": replace(estimator.read(oracle.model), readings={})}) is None


def test_it_can_be_written_down_and_read_back(setting, verified):
    found = verified.attacks
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Attacks.from_dict(written) == found
    assert {c["model"] for c in found.curves} == {REFERENCES, "original", "unlearned"}
    for own in found.curves:
        assert own["points"][-1] == [1.0, 1.0] and own["attack"] in NAMES
    oracle, references = setting
    for kind, result in ((Verification, verified), (Audit, audit(oracle, REQUEST, references))):
        values = json.loads(json.dumps(result.to_dict()))
        assert kind.from_dict(values) == result
        del values["attacks"]  # as cases wrote them before
        assert kind.from_dict(values).attacks is None


def test_without_references_nothing_is_attacked(setting, retrained):
    oracle, _ = setting
    assert verify(retrained, oracle, REQUEST, None).attacks is None
    assert verify(retrained, oracle, REQUEST, None).to_dict()["attacks"] is None


def test_several_subjects_and_some_rows(setting, retrained):
    oracle, references = setting
    several = verify(retrained, oracle, nz.ErasureRequest(subjects=["c0", "c1"]), references).attacks
    assert line(several, "lira-offline", "original", "subject")["positives"] == 2
    ids = tuple(oracle.data.ids[oracle.data.subjects == "c0"][:12])
    some = verify(retrained, oracle, nz.ErasureRequest(rows=ids), references).attacks
    assert line(some, "rmia-offline", "unlearned")["positives"] == 12


def test_real_targets_have_lira_alone(tmp_path):
    oracle = world.oracle(world.REGRESSION, real=True)
    references = References.fit(oracle, 24, workspace=tmp_path, backend="vectorised")
    found = audit(oracle, nz.ErasureRequest(subjects=["s00"]), references).attacks
    assert {s["attack"] for s in found.scores} == {"lira-online", "lira-offline"}
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_can_read_it(verified, width):
    shown = render(verified.attacks, width)
    for word in ("LiRA, online", "RMIA", "AUC", "unlearned", "references"):
        assert word in " ".join(shown.split())
    assert "known attacks" in render(verified, width)
