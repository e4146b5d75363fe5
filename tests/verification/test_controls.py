"""A pool that fails a control says nothing of forgetting, except where its test rejects."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.console import Group as RichGroup

import neuralyzer as nz
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights
from neuralyzer.references.measurement.evaluator import Evaluator
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.trace.positive_control import positive_control
from neuralyzer.trace.self_check import SelfCheck
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification import controls as module
from neuralyzer.verification.audit import audit
from neuralyzer.verification.controls import Controls, controls_view, original_control
from neuralyzer.verification.verify import verify

REQUEST = ErasureRequest(subjects=["c0"])


def changed(model):
    """A copy with nearly the same weights, so that its digest is another."""
    own = weights.clone(model)
    with torch.no_grad():
        next(own.parameters()).mul_(1 + 1e-6)
    return own


@pytest.fixture(scope="module")
def never(made_world, setting):
    """A model that never saw half of the subjects, handed over as one that saw all: its recipe is wrong."""
    oracle, references = setting
    rest = made_world.data.select(np.isin(made_world.data.subjects, ["c1", "c2", "c3", "c4"]))
    model = nz.TrainedModel.fit(replace(oracle.recipe, seed=77), rest).model
    own = nz.TrainedModel(model, oracle.recipe, oracle.data, oracle.holdout)
    return own, nz.References.open(references.store.root, own)


def test_the_original_is_found_where_it_must_be(setting):
    oracle, references = setting
    for split in ("tuning", "judging"):
        own = original_control(references, oracle, references.parts(REQUEST.positions(oracle.data)), 0.05, split)
        assert own.passed and own.size == 1 and own.groups == 10
        assert own.found <= own.promised and own.found >= 0.8 * own.promised
        assert set(own.signals) == {"margin", "augmented", "relearned", "correct", "fisher"}
        assert own.signals["margin"].low < 1.1


def test_it_is_made_once_and_kept_with_the_pool(setting, monkeypatch):
    oracle, references = setting
    first = original_control(references, oracle, (), 0.05, "judging")
    monkeypatch.setattr(Evaluator, "read", lambda *given: pytest.fail("read again"))
    assert original_control(references, oracle, (), 0.05, "judging") == first
    assert references.store.control(oracle.digest, references.digest, 1, 0.05).exists()
    grown = references.store.control(oracle.digest, "the digest of a pool that has grown", 1, 0.05)
    assert grown != references.store.control(oracle.digest, references.digest, 1, 0.05)


def test_reading_the_original_is_no_access(setting):
    oracle, references = setting
    before = references.access_log.count(oracle.lineage, ["c0"])
    references.store.control(oracle.digest, references.digest, 1, 0.1).unlink(missing_ok=True)
    original_control(references, oracle, (), 0.1, "judging")
    assert references.access_log.count(oracle.lineage, ["c0"]) == before


def test_a_model_that_was_trained_otherwise_fails_and_nothing_is_called_forgotten(never):
    oracle, references = never
    found = audit(oracle, REQUEST, references)
    assert not found.positive_control.passed
    assert found.verdict is Verdict.INCONCLUSIVE and "does not train as the original was trained" in found.sentence
    judged = verify(weights.clone(oracle.model), oracle, REQUEST, references)
    assert judged.verdict is Verdict.INCONCLUSIVE and not judged.positive_control.passed
    assert "is found on" in judged.sentence
    exact = verify(changed(oracle.model), oracle, REQUEST, references, exact=True)
    assert exact.verdict is Verdict.FORGOTTEN, "a training record needs no control"
    assert exact.retained_control is None


def test_where_the_test_rejects_a_failed_control_is_no_excuse(never, setting):
    """A test that misses most models that saw the rows still says something where it finds one."""
    oracle, references = never
    found = verify(setting[0].model, oracle, REQUEST, references)
    assert found.verdict is Verdict.NOT_FORGOTTEN and not found.positive_control.passed


def test_alarms_on_rows_that_nobody_saw_come_before_everything(setting, monkeypatch):
    oracle, references = setting
    monkeypatch.setattr("neuralyzer.trace.estimator.self_check", lambda *given: SelfCheck(40, 100, 12))
    found = verify(oracle.model, oracle, REQUEST, references)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "40 alarms of 100 on rows that nobody saw, where 12 at most may come" in found.sentence
    assert audit(oracle, REQUEST, references).verdict is Verdict.INCONCLUSIVE


def test_weights_that_are_registered_as_trained_on_the_rows_are_never_forgotten(setting, retrained):
    oracle, references = setting
    if verify(retrained, oracle, REQUEST, references).verdict is not Verdict.FORGOTTEN:
        pytest.fail("the retrained model of this world is judged forgotten")
    found = verify(retrained, oracle, REQUEST, references, registered="they are registered as 'copy'")
    assert found.verdict is Verdict.INCONCLUSIVE and "registered as 'copy'" in found.sentence


@pytest.mark.parametrize("known", [None, "the pretrained base 'b', from which the recipe starts, saw 3 of the rows"])
def test_no_training_record_makes_weights_forgotten_that_are_known_to_hold_the_rows(setting, known):
    """A person's own training code may load a checkpoint, and a pretrained base may hold the rows."""
    oracle, references = setting
    model = oracle.model if known is None else changed(oracle.model)
    for pool in (references, None):
        found = verify(model, oracle, REQUEST, pool, exact=True, registered=known)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert f"trained on the rows: {known or 'they are the original'}" in found.sentence


@pytest.fixture(scope="module")
def dull(made_world, setting):
    """A model that was trained on all rows, and so little that it shows none of them."""
    oracle, _ = setting
    return nz.TrainedModel.fit(replace(oracle.recipe, seed=78, epochs=4), made_world.data).model


def test_a_model_that_shows_nothing_of_what_it_kept_is_not_forgotten_for_showing_nothing(setting, dull, retrained):
    oracle, references = setting
    found = verify(dull, oracle, REQUEST, references)
    assert found.positive_control.passed and not found.retained_control.passed
    assert found.verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_FORGOTTEN)
    if found.verdict is Verdict.INCONCLUSIVE:
        assert "shows so little of the rows that it kept" in found.sentence
    own = verify(retrained, oracle, REQUEST, references).retained_control
    assert own.passed and own.groups == 9 and set(own.signals) == set(found.positive_control.signals)


def test_answers_that_are_rounded_away_say_nothing(setting, retrained):
    """Of a model whose answers are its classes alone nothing is found, whatever it holds."""
    oracle, references = setting

    def classes(x):
        return torch.nn.functional.one_hot(oracle.model(x).argmax(1), 10).float()

    for name in ("c0", "c1", "c2", "c3"):
        found = verify(classes, oracle, ErasureRequest(subjects=[name]), references)
        assert found.verdict is not Verdict.FORGOTTEN and found.positive_control.passed


def test_what_is_not_found_in_the_original_is_not_missed_after_it(setting, retrained):
    oracle, references = setting
    counting = audit(oracle, REQUEST, references).protocol
    blind = replace(counting, original_rejected=False)
    never = nz.TrainedModel(retrained, oracle.recipe, oracle.data, oracle.holdout)
    found = verify(changed(retrained), never, REQUEST, nz.References.open(references.store.root, never), protocol=blind)
    assert found.verdict is Verdict.INCONCLUSIVE and "the original" in found.sentence


def test_a_detectable_trace_is_in_the_unit_that_the_original_reads(setting):
    own = original_control(setting[1], setting[0], (), 0.05, "judging")
    low = replace(own.signals["margin"], trace=0.7, low=0.6, high=0.8)
    corrected = Controls(positive=replace(own, signals={"margin": low})).corrected({"margin": 0.3, "fisher": 0.4})
    assert corrected == {"margin": pytest.approx(0.5), "fisher": 0.4}
    lower = replace(own, signals={"margin": replace(low, low=0.3)})
    both = Controls(positive=replace(own, signals={"margin": low}), retained=lower).corrected({"margin": 0.3})
    assert both == {"margin": pytest.approx(1.0)}
    assert Controls().corrected({"margin": 0.3}) == {"margin": 0.3}


@pytest.fixture
def many(monkeypatch):
    """Three subjects are many."""
    monkeypatch.setattr(module, "MANY", 3)
    monkeypatch.setattr("neuralyzer.trace.group_estimator.MANY", 3)


def test_groups_of_many_subjects_have_a_control_of_their_size(setting, many, monkeypatch):
    oracle, references = setting
    monkeypatch.setattr(module, "FEWEST_GROUPS", 3)
    parts = references.parts(ErasureRequest(subjects=["c0", "c1", "c2"]).positions(oracle.data))
    own = original_control(references, oracle, parts, 0.05, "tuning")
    assert own.size == 3 and own.groups == 3
    references.store.control(oracle.digest, references.digest, 3, 0.05).unlink()


def test_where_a_few_such_groups_are_all_single_subjects_are_read_beside_them(setting, many):
    """One group alone could be missed by chance, so that nothing would follow."""
    oracle, references = setting
    parts = references.parts(ErasureRequest(subjects=["c0", "c1", "c2"]).positions(oracle.data))
    own = original_control(references, oracle, parts, 0.05, "tuning")
    assert own.size == 3 and own.groups == 3 + 10 and own.subjects_read == "groups of up to 3 subjects"
    references.store.control(oracle.digest, references.digest, 3, 0.05).unlink()


def test_a_few_rows_of_many_subjects_are_no_group_of_whole_ones(setting, many):
    oracle, references = setting
    rows = [str(oracle.data.ids[np.flatnonzero(oracle.data.subjects == name)[0]]) for name in ("c0", "c1", "c2", "c3")]
    parts = references.parts(ErasureRequest(rows=rows).positions(oracle.data))
    assert len(parts) == 4
    assert original_control(references, oracle, parts, 0.05, "tuning").size == 1


def test_a_person_can_read_them(setting):
    own = original_control(setting[1], setting[0], (), 0.05, "judging")
    console = Console(width=120, record=True, file=None)
    with console.capture() as shown:
        console.print(RichGroup(*controls_view(SelfCheck(3, 60, 9), own, replace(own, groups=9, found=0))))
    text = shown.get()
    assert "3 false alarms of 60 tests" in text and "at most 9" in text
    assert f"the original is found on {own.detected} of 10 subjects that it saw" in text
    assert "the model is found on" in text and "of 9 subjects that it kept; on 0 of the" in text


@pytest.mark.parametrize("whose", ["original", "dull"])
def test_a_whole_trace_of_the_model_under_test_is_in_its_own_unit(setting, dull, whose):
    """What is promised, by hand: a detectable trace of at most what the model reads of a whole one, but half at least."""
    oracle, split = setting[0], setting[1].evaluation
    model, groups = dull if whose == "dull" else oracle.model, [[part] for part in setting[1].parts(np.arange(400))]
    read = module._read(split, model, [part for group in groups for part in group])
    usual, own = (positive_control(split, groups, read, 0.05, own_unit=unit) for unit in (False, True))
    seen = [estimator_for(split, group, 0.05).read(model).detectable for group in groups]
    promised = {
        name: [any(least <= unit[signal] for signal, least in one.items()) for one in seen]
        for name, unit in (
            ("usual", dict.fromkeys(usual.signals, 1.0)),
            ("own", {signal: max(0.5, usual.scale(signal)) for signal in usual.signals}),
        )
    }
    assert (usual.promised, own.promised) == (sum(promised["usual"]), sum(promised["own"]))
    assert (own.groups, own.detected, own.signals) == (usual.groups, usual.detected, usual.signals)
    assert own.passed is (whose == "original") and (whose == "original" or own.promised < usual.promised)
