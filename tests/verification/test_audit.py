"""The audit of the original: its words, what it needs, and that the evaluation split stays shut."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

import neuralyzer as nz
from neuralyzer.signals.signal import Family
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.audit import Audit, _sentence, audit, required

REQUEST = nz.ErasureRequest(subjects=["c0"])


def render(view, width):
    console = Console(width=width, record=True, force_terminal=True, file=io.StringIO())
    console.print(view)
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    return shown


def test_the_original_remembers(setting):
    oracle, references = setting
    found = audit(oracle, REQUEST, references)
    assert found.verdict is Verdict.NOT_FORGOTTEN and found.p_value < 0.05 and found.rows == 40
    assert {row["family"] for row in found.families} == set(Family)
    for row in found.families:
        assert 0.5 < row["trace"] < 1.6 and row["low"] < row["trace"] < row["high"]
        # What counts is told before the unit is corrected; what is printed, after.
        scale = found.positive_control.scale(row["signal"])
        assert 0 < scale <= 1 and row["counts"] == (row["detectable"] * scale <= 1)
    assert found.detectable == max(row["detectable"] for row in found.families if row["counts"])
    assert "The model holds" in found.sentence and "p = 0.0" in found.sentence


def test_the_original_never_saw_rows_of_nobody(setting):
    """Its trace on its own rows is whole, and near nothing for a model that was trained without them."""
    oracle, references = setting
    without = nz.TrainedModel(
        nz.TrainedModel.fit(oracle.recipe, oracle.data.select(oracle.data.subjects != "c0")).model,
        oracle.recipe, oracle.data, oracle.holdout,
    )  # fmt: skip
    found = audit(without, REQUEST, references)
    assert found.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE)
    assert all(abs(row["trace"]) < 0.6 for row in found.families)


def test_only_the_tuning_half_is_read(setting, monkeypatch):
    oracle, references = setting
    audit(oracle, REQUEST, references)  # makes the original's control, which is no access
    monkeypatch.setattr(type(references), "evaluation", property(lambda self: pytest.fail("the judge was asked")))
    before = references.access_log.count(oracle.lineage, ["c0"])
    assert audit(oracle, REQUEST, references).families
    assert references.access_log.count(oracle.lineage, ["c0"]) == before


def test_it_declares_what_a_verification_will_be_held_to(setting):
    oracle, references = setting
    found = audit(oracle, REQUEST, references, nz.Policy(alpha=0.1, max_trace=0.7))
    protocol = found.protocol
    assert protocol.signals == tuple(row["signal"] for row in found.families)
    assert protocol.counting == tuple(row["signal"] for row in found.families if row["counts"])
    assert (protocol.alpha, protocol.max_trace) == (0.1, 0.7)
    assert protocol.references == references.digest and protocol.original_rejected


def test_without_references_nobody_can_say(setting):
    found = audit(setting[0], REQUEST, None)
    assert found.verdict is Verdict.INCONCLUSIVE and found.p_value is None and found.families == ()
    assert "Without references" in found.sentence and found.rows == 40
    assert found.protocol.counting == () and found.protocol.references is None


def test_one_row_is_more_than_these_references_can_see(setting):
    oracle, references = setting
    found = audit(oracle, nz.ErasureRequest(rows=["r1"]), references)
    assert found.verdict in (Verdict.UNTRACEABLE, Verdict.INCONCLUSIVE) and found.rows == 1
    assert "relearned" not in {row["signal"] for row in found.families}, "a row alone is not relearned"
    assert found.not_measured == ("relearned",) and "not measured: relearned" in render(found, 80)


def test_nothing_that_can_be_read_is_inconclusive(setting, monkeypatch):
    monkeypatch.setattr(TraceEstimator, "signals", property(lambda self: [], lambda self, value: None), raising=False)
    found = audit(setting[0], REQUEST, setting[1])
    assert found.verdict is Verdict.INCONCLUSIVE and "No signal" in found.sentence
    assert found.protocol.references == setting[1].digest


@pytest.mark.parametrize("names", [["c0"], ["c0", "c5"]])
def test_of_which_groups_one_signal_each_must_count(setting, names):
    oracle, references = setting
    positions = nz.ErasureRequest(subjects=names).positions(oracle.data)
    estimator = TraceEstimator(references.tuning, references.parts(positions), 0.05)
    groups = [{estimator.family(signal) for signal in group} for group in required(estimator)]
    assert groups == [{Family.RETRAINING, Family.ATTACK}, {Family.RELEARNING}]


def test_a_request_without_relearning_needs_none(setting):
    estimator = TraceEstimator(setting[1].tuning, setting[1].parts(np.array([1])), 0.05)
    assert len(required(estimator)) == 1


@pytest.mark.parametrize("references", [True, False])
def test_it_can_be_written_down_and_read_back(setting, references):
    found = audit(setting[0], REQUEST, setting[1] if references else None)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Audit.from_dict(written) == found
    assert set(written) == {
        "verdict", "p_value", "detectable", "rows", "families", "protocol", "sentence", "attacks", "not_measured",
        "self_check", "positive_control",
    }  # fmt: skip
    del written["not_measured"]
    assert Audit.from_dict(written).not_measured == (), "an older one can still be read"


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_can_read_it(setting, width):
    shown = render(audit(setting[0], REQUEST, setting[1]), width)
    for word in ("The model holds", "relearning", "detectable", "%"):
        assert word in shown
    assert "Without references" in render(audit(setting[0], REQUEST, None), width)


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (Verdict.NOT_FORGOTTEN, "holds"),
        (Verdict.UNTRACEABLE, "Nothing measurable"),
        (Verdict.INCONCLUSIVE, "Inconclusive"),
    ],
)
def test_every_verdict_has_a_sentence_of_its_own(verdict, word):
    blind = {"family": "retraining", "trace": 0.9, "low": 0.1, "high": 1.7, "counts": False, "detectable": 1.2}
    rows = (
        blind,
        blind | {"family": "attack", "trace": 1.04, "low": 0.86, "high": 1.22, "counts": True, "detectable": 0.3},
    )
    sentence = _sentence(verdict, rows, 0.007)
    assert word in sentence and "104 %" in sentence and "(86 to 122 %)" in sentence and "0.007" in sentence
    none = _sentence(verdict, rows[:1], 0.007)
    assert word in none and "90 %" not in none, "where no family counts, none has a number"
