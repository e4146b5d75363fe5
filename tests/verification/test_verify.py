"""The verdict on a model: its words, its basis, what decides it, and how it is written and shown."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.trace.verdict import SECOND_ACCESS, Verdict
from neuralyzer.verification.audit import audit
from neuralyzer.verification.controls import groups_of
from neuralyzer.verification.protocol import Protocol
from neuralyzer.verification.verification import Verification, verification_view
from neuralyzer.verification.verify import verify
from neuralyzer.verification.words import bar, colour, leading_family, percent, remaining, sentence
from tests.conftest import small_recipe
from tests.verification.test_audit import render

REQUEST = ErasureRequest(subjects=["c0"])


def test_the_original_has_not_forgotten(setting):
    oracle, references = setting
    found = verify(oracle.model, oracle, REQUEST, references)
    assert found.verdict is Verdict.NOT_FORGOTTEN == "not forgotten" and found.basis == "statistical"
    assert found.p_value <= found.alpha == 0.05
    for row in found.families:
        assert row["unlearned"] == row["original"] > 0.5
        assert row["low"] < row["unlearned"] < row["high"]
    assert "Not forgotten" in found.sentence


@pytest.mark.parametrize("seed", [77, 78])
def test_a_model_that_was_retrained_is_not_accused(setting, seed):
    oracle, references = setting
    rest = oracle.data.select(oracle.data.subjects != "c0")
    model = nz.TrainedModel.fit(small_recipe(seed=seed), rest).model
    found = verify(model, oracle, REQUEST, references)
    assert found.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE) and found.p_value > 0.05
    for row in found.families:
        assert abs(row["unlearned"]) < 0.6 < row["original"]
        assert row["null_low"] == -row["null_high"] < 0
        assert row["null_high"] == pytest.approx(row["high"] - row["unlearned"])
        assert row["retrained"] == []


def test_a_look_elsewhere_is_accused(setting, retrained):
    """Weights of which half the way back to the original is left."""
    oracle, references = setting
    split = weights.clone(retrained)
    for mine, original in zip(split.parameters(), oracle.model.parameters(), strict=True):
        mine.data = 0.2 * mine.data + 0.8 * original.data
    assert verify(split.eval(), oracle, REQUEST, references).verdict is Verdict.NOT_FORGOTTEN


def test_a_broken_model_is_not_called_forgotten(setting):
    oracle, references = setting
    blank = weights.clone(oracle.model)
    for parameter in blank.parameters():
        parameter.data.zero_()
    assert verify(blank, oracle, REQUEST, references).verdict is not Verdict.FORGOTTEN


def test_a_module_in_training_mode_reads_the_same(setting, retrained):
    oracle, references = setting
    found = verify(retrained, oracle, REQUEST, references)
    training = weights.clone(retrained).train()
    assert verify(training, oracle, REQUEST, references).to_dict() == found.to_dict()


def test_the_evaluation_split_decides_and_no_model_is_changed(setting, retrained, monkeypatch):
    oracle, references = setting
    before = weights.digest(oracle.model), weights.digest(retrained)
    splits = []
    read = TraceEstimator.read
    monkeypatch.setattr(TraceEstimator, "read", lambda self, *rest: splits.append(self.split) or read(self, *rest))
    protocol = audit(oracle, REQUEST, references).protocol
    splits.clear()
    verify(retrained, oracle, REQUEST, references, protocol=protocol)
    assert set(map(id, splits)) == {id(references.evaluation)}
    assert (weights.digest(oracle.model), weights.digest(retrained)) == before


def test_without_references_only_a_record_decides(setting, retrained):
    oracle, _ = setting
    found = verify(retrained, oracle, REQUEST, None)
    assert found.verdict is Verdict.INCONCLUSIVE and found.families == () and found.p_value is None
    exact = verify(retrained, oracle, REQUEST, None, exact=True)
    assert exact.verdict is Verdict.FORGOTTEN and exact.basis == "exact" and exact.families == ()


def test_a_record_decides_and_the_measured_trace_is_told(setting):
    """Even a model that reads as the original does is forgotten by its record; the table shows what was read."""
    oracle, references = setting
    model = weights.clone(oracle.model)
    with torch.no_grad():  # the original's own weights have no such record
        next(model.parameters()).mul_(1 + 1e-6)
    found = verify(model, oracle, REQUEST, references, exact=True)
    assert found.verdict is Verdict.FORGOTTEN and found.basis == "exact"
    assert all(row["unlearned"] > 0.5 for row in found.families) and found.p_value < 0.05
    assert "by construction" in found.sentence


def test_what_the_pool_cannot_answer_is_inconclusive(setting, retrained):
    oracle, references = setting
    for model in (retrained, oracle.model):
        found = verify(model, oracle, REQUEST, references, answerable="they stand in for each other")
        assert found.verdict is Verdict.INCONCLUSIVE
    exact = verify(retrained, oracle, REQUEST, references, answerable="they stand in for each other", exact=True)
    assert exact.verdict is Verdict.FORGOTTEN


def test_it_is_held_to_the_protocol_that_was_declared(setting, retrained):
    oracle, references = setting
    declared = audit(oracle, REQUEST, references).protocol
    strict = replace(declared, max_trace=0.01)
    assert verify(retrained, oracle, REQUEST, references, protocol=strict).verdict is Verdict.INCONCLUSIVE
    one = replace(declared, counting=("margin",))
    found = verify(retrained, oracle, REQUEST, references, protocol=one)
    assert [row["signal"] for row in found.families if row["counts"]] == ["margin"]
    assert found.verdict is Verdict.INCONCLUSIVE, "no relearning signal counts"
    none = replace(declared, counting=(), original_rejected=False)
    found = verify(retrained, oracle, REQUEST, references, protocol=none)
    assert found.verdict is Verdict.UNTRACEABLE and found.detectable is None


def test_detectable_is_the_largest_among_those_that_count(setting, retrained):
    oracle, references = setting
    found = verify(retrained, oracle, REQUEST, references)
    assert found.detectable == max(row["detectable"] for row in found.families if row["counts"])


def test_a_second_look_must_see_finer(setting, retrained):
    oracle, references = setting
    first = verify(retrained, oracle, REQUEST, references, found=1.96, looks=1)
    second = verify(retrained, oracle, REQUEST, references, found=SECOND_ACCESS, looks=2)
    assert (first.looks, second.looks) == (1, 2)
    for one, two in zip(first.families, second.families, strict=True):
        assert two["detectable"] > one["detectable"] and two["unlearned"] == one["unlearned"]


def test_the_self_check_raises_few_alarms(setting, retrained):
    oracle, references = setting
    check = verify(retrained, oracle, REQUEST, references).self_check
    assert check.groups >= 20 and check.alarms <= 0.25 * check.groups
    groups = groups_of(references)
    assert groups is not None and len(groups) >= 1


def test_a_request_for_rows_of_several_subjects(setting, retrained):
    oracle, references = setting
    request = ErasureRequest(subjects=["c0"], classes=["3"])
    found = verify(oracle.model, oracle, request, references)
    assert found.families and found.verdict in set(Verdict)


# Written and shown


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("with_references", [True, False])
def test_it_can_be_written_down_and_read_back(setting, retrained, with_references, exact):
    oracle, references = setting
    found = verify(retrained, oracle, REQUEST, references if with_references else None, exact=exact, looks=1)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Verification.from_dict(written) == found
    assert set(written) == {
        "verdict", "basis", "p_value", "alpha", "detectable", "families", "looks", "self_check", "sentence",
        "judges", "attacks", "not_measured", "positive_control", "bound",
        "retained_control", "remains", "settled_by",
    }  # fmt: skip


def test_a_protocol_can_be_written_down_and_read_back(setting):
    protocol = audit(setting[0], REQUEST, setting[1]).protocol
    written = json.loads(json.dumps(protocol.to_dict()))
    assert Protocol.from_dict(written) == protocol and isinstance(written["signals"], list)


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_can_read_it(setting, retrained, width):
    oracle, references = setting
    found = verify(retrained, oracle, REQUEST, references, looks=1)
    shown = render(found, width)
    for word in (
        "relearning",
        "unlearned",
        "trace before",
        "trace after",
        "negative control",
        "positive control",
        found.sentence[:20],
    ):
        assert word in shown
    assert "really retrained" not in shown
    assert "Inconclusive" in render(verify(retrained, oracle, REQUEST, None), width)


def test_the_demos_column_is_shown_where_it_is_filled_in(setting, retrained):
    oracle, references = setting
    found = verify(retrained, oracle, REQUEST, references)
    rows = tuple(row | {"retrained": [0.1, -0.3]} for row in found.families)
    shown = render(verification_view(replace(found, families=rows), retrained=True), 240)
    assert "-10 % (-30 to 10 %)" in shown


def test_a_signal_that_does_not_count_is_marked(setting, retrained):
    oracle, references = setting
    declared = replace(audit(oracle, REQUEST, references).protocol, counting=("margin", "relearned"))
    shown = render(verify(retrained, oracle, REQUEST, references, protocol=declared), 140)
    assert "* does not count" in shown and "information *" in shown and "relearning *" not in shown


@pytest.mark.parametrize(
    ("verdict", "exact", "p", "word"),
    [
        (Verdict.FORGOTTEN, True, 0.5, "by construction"),
        (Verdict.FORGOTTEN, True, None, "by construction"),
        (Verdict.FORGOTTEN, False, 0.5, "never saw them"),
        (Verdict.NOT_FORGOTTEN, False, 0.012, "p = 0.012"),
        (Verdict.UNTRACEABLE, False, 0.5, "Untraceable"),
        (Verdict.INCONCLUSIVE, False, 0.5, "might have been missed"),
        (Verdict.INCONCLUSIVE, False, None, "without references"),
    ],
)
def test_every_verdict_has_a_sentence(verdict, exact, p, word):
    assert word in sentence(verdict, exact, p)


def test_words():
    assert percent(1.043) == "104 %" and percent(-0.3) == "-30 %" and percent(None) == "-"
    assert {colour(verdict) for verdict in Verdict} == {"green", "cyan", "yellow", "red"}
    assert colour(Verdict.FORGOTTEN) == "green" and colour(Verdict.NOT_FORGOTTEN) == "red"
    assert bar(0.5, 10) == "█████░░░░░" and bar(-1, 4) == "░░░░" and bar(7, 4) == "████"


def test_a_model_of_another_kind(setting):
    """What cannot be read is an error, not a verdict."""
    oracle, references = setting
    with pytest.raises((RuntimeError, nz.NeuralyzerError)):
        verify(nn.Linear(3, 10), oracle, REQUEST, references)


def test_one_family_speaks_wherever_one_figure_must_do():
    """Of the finest that count of retraining and attack, and of relearning, the coarser."""
    made = {
        "margin": ("retraining", 0.4),
        "augmented": ("attack", 0.3),
        "relearned": ("relearning", 0.6),
        "fisher": ("information", 0.1),
    }
    rows = [
        {
            "family": family,
            "signal": name,
            "detectable": least,
            "counts": True,
            "low": -0.1,
            "high": 10 * least,
            "trace": 0,
        }
        for name, (family, least) in made.items()
    ]
    assert leading_family(rows)["signal"] == "relearned" and remaining(rows) is None  # wider than four traces
    rows[2] |= {"counts": False}
    assert leading_family(rows)["signal"] == "augmented" and remaining(rows) == pytest.approx(3.0)
    rows[1] |= {"high": -0.05}
    assert remaining(rows) == 0.0
    only = [row | {"counts": row["signal"] == "fisher"} for row in rows]
    assert leading_family(only)["signal"] == "fisher"
    assert leading_family([row | {"counts": False} for row in rows]) is None and remaining([]) is None


def test_what_may_remain_is_the_bound_of_the_same_family(setting, retrained):
    found = verify(retrained, setting[0], REQUEST, setting[1])
    first = leading_family(found.families)
    assert first["detectable"] == found.bound and found.remains == max(0.0, first["high"])
    assert f"up to {percent(found.remains)} of their trace may remain" in found.sentence
    assert Verification.from_dict(found.to_dict()) == found


def test_an_inconclusive_verdict_says_what_would_settle_it(setting, retrained):
    oracle, references = setting
    strict = nz.Policy(max_trace=1e-6)
    found = verify(retrained, oracle, REQUEST, references, strict)
    assert found.verdict is Verdict.INCONCLUSIVE and found.settled_by == ("--exact-references 8", "--method retrain")
    known = verify(retrained, oracle, REQUEST, references, registered="they are registered as 'copy'")
    assert known.settled_by == ("--method retrain",)
    assert verify(retrained, oracle, REQUEST, references, registered="the base saw them", exact=True).settled_by == ()
    assert verify(retrained, oracle, REQUEST, None).settled_by == ("--method retrain",)
    assert verify(retrained, oracle, REQUEST, references).settled_by == ()


def test_no_number_of_a_family_is_shown_whose_interval_is_too_wide(setting, retrained):
    found = verify(retrained, setting[0], REQUEST, setting[1])
    wide = {"low": -9.0, "high": 9.0, "original": -2.19, "unlearned": -8.33, "null_low": -9.11, "null_high": 9.11}
    blind = replace(found, families=tuple(row | wide for row in found.families))
    shown = render(blind, 160)
    assert "too wide" in shown and not any(number in shown for number in ("219", "833", "911", "trace before"))
