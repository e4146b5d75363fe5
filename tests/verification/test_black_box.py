"""The verdict on a model of which only answers can be had."""

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.verification import Verification
from tests.verification.test_audit import render

REQUEST = nz.ErasureRequest(subjects=["c0"])


def served(model):
    """As behind an API: nothing but an array of probabilities comes back."""
    return lambda x: model(x).softmax(1).detach().numpy()


def test_the_original_is_found_by_its_answers(setting):
    oracle, references = setting
    found = nz.verify(served(oracle.model), oracle, REQUEST, references)
    assert found.verdict is Verdict.NOT_FORGOTTEN
    assert [row["signal"] for row in found.families] == ["margin", "augmented", "correct"]
    assert found.not_measured == ("relearned", "fisher")
    assert "not measured: relearned, fisher" in render(found, 140)


def test_it_reads_what_the_module_reads(setting, retrained):
    oracle, references = setting
    whole = {row["signal"]: row for row in nz.verify(retrained, oracle, REQUEST, references).families}
    found = nz.verify(served(retrained), oracle, REQUEST, references)
    assert found.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE) and found.p_value > 0.05
    for row in found.families:
        assert row["unlearned"] == pytest.approx(whole[row["signal"]]["unlearned"], abs=0.02)


def test_relearning_is_not_required_of_it(setting, retrained, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "neuralyzer.verification.verify.decide", lambda **given: asked.append(given) or Verdict.FORGOTTEN
    )
    nz.verify(served(retrained), *setting[:1], REQUEST, setting[1])
    assert asked[0]["required"] == [["margin", "augmented"]]


def test_a_module_is_read_whole(setting, retrained):
    found = nz.verify(retrained, setting[0], REQUEST, setting[1])
    assert found.not_measured == () and len(found.families) == 5


def test_it_can_be_written_down_and_an_older_one_read(setting, retrained):
    found = nz.verify(served(retrained), setting[0], REQUEST, setting[1])
    written = found.to_dict()
    assert written["not_measured"] == ["relearned", "fisher"] and Verification.from_dict(written) == found
    del written["not_measured"]
    assert Verification.from_dict(written).not_measured == ()


def test_answers_that_are_no_probabilities(setting):
    oracle, references = setting
    with pytest.raises(UsageError, match="logits"):
        nz.verify(lambda x: oracle.model(x).detach(), oracle, REQUEST, references)


def test_without_references_nothing_is_judged(setting):
    found = nz.verify(served(setting[0].model), setting[0], REQUEST, None)
    assert found.verdict is Verdict.INCONCLUSIVE and np.size(found.families) == 0
