"""Claims: rows that no register holds, against a model that really saw them and one that did not."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import ForgetSetError, ReferencesError, UsageError
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.claim import Claim, _notes, _require_same_shape, _sentence, audit_rows
from tests.conftest import small_recipe
from tests.verification.test_audit import render


@pytest.fixture(scope="session")
def found(claim_world):
    return audit_rows(claim_world.oracle, claim_world.claimed, claim_world.references)


def mixed(*parts):
    """Rows of several data sets as a claimant's file has them: without ids or subjects."""
    return nz.Data.from_arrays(
        np.concatenate([part.x.numpy() for part in parts]), np.concatenate([part.y.numpy() for part in parts])
    )


def test_a_model_that_was_trained_on_them(claim_world, found):
    assert found.verdict is Verdict.NOT_FORGOTTEN and found.p_value <= 0.05 and found.rows == len(claim_world.claimed)
    assert found.sentence.startswith("The model was trained on these rows:")
    assert {row["signal"] for row in found.families} == {"margin", "augmented", "correct", "fisher"}
    assert found.not_measured == ("relearned",) and found.references == claim_world.references.digest
    assert (found.registered, found.holdout, found.repeated, found.subjects, found.notes) == (0, 0, 0, (), ())
    for row in found.families:
        assert row["low"] < row["trace"] < row["high"] and row["counts"] == (row["detectable"] <= 1)


def test_a_model_that_was_not(claim_world):
    own = claim_world.oracle
    other = nz.TrainedModel(
        nz.TrainedModel.fit(small_recipe(seed=5), own.data).model, own.recipe, own.data, own.holdout
    )
    found = audit_rows(other, claim_world.claimed, claim_world.references)
    assert found.verdict is not Verdict.NOT_FORGOTTEN and found.p_value > 0.05
    assert all(row["trace"] < 0.5 for row in found.families)


def test_only_rows_that_are_registered(claim_world):
    known = claim_world.oracle.data.select(claim_world.oracle.data.subjects == "c0")
    with pytest.raises(ForgetSetError, match=r"40 stand in the training data.*subject c0; use --subject"):
        audit_rows(claim_world.oracle, known, claim_world.references)


def test_rows_that_are_known_are_left_out_and_named(claim_world, found):
    known = claim_world.oracle.data.select(np.flatnonzero(claim_world.oracle.data.subjects == "c0")[:3])
    outside = claim_world.oracle.holdout.select([0, 1])
    rows = mixed(claim_world.claimed, known, outside, claim_world.claimed.select([4]))
    read = audit_rows(claim_world.oracle, rows, claim_world.references)
    assert (read.registered, read.subjects, read.holdout, read.repeated) == (3, ("c0",), 2, 1)
    assert read.rows == found.rows and read.families == found.families
    assert read.notes[0] == "3 of these rows are in the training data, subject c0: use --subject."
    assert "2 of these rows are in the holdout" in read.notes[1] and "1 of these rows repeat" in read.notes[2]
    assert read.notes[0] in render(read, 140)


def test_only_rows_of_the_holdout(claim_world):
    with pytest.raises(ForgetSetError, match="all stand in the holdout"):
        audit_rows(claim_world.oracle, claim_world.oracle.holdout.select([0, 1, 2]), claim_world.references)


def test_one_row_is_more_than_these_references_can_see(claim_world):
    found = audit_rows(claim_world.oracle, claim_world.claimed.select([0]), claim_world.references)
    assert found.rows == 1 and all(row["detectable"] > 1 for row in found.families if row["signal"] == "margin")


def test_the_judge_is_not_asked(claim_world, monkeypatch):
    audit_rows(
        claim_world.oracle, claim_world.claimed, claim_world.references
    )  # makes the original's control, which is no access
    monkeypatch.setattr(type(claim_world.references), "evaluation", property(lambda self: pytest.fail("the judge")))
    assert audit_rows(claim_world.oracle, claim_world.claimed, claim_world.references).families


def test_it_can_be_written_down_and_read_back(found):
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Claim.from_dict(written) == found
    assert set(written) == {
        "verdict", "p_value", "detectable", "rows", "registered", "subjects", "holdout", "repeated", "families",
        "not_measured", "alpha", "max_trace", "references", "sentence", "notes",
        "self_check", "positive_control",
    }  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_can_read_it(found, width):
    shown = render(found, width)
    for word in ("The model was trained on these rows", "detectable", "information", "%"):
        assert word in shown


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (Verdict.NOT_FORGOTTEN, "The model was trained on these rows: "),
        (Verdict.FORGOTTEN, "No sign that the model was trained on these rows"),
        (Verdict.UNTRACEABLE, "Nothing measurable"),
        (Verdict.INCONCLUSIVE, "Inconclusive"),
    ],
)
def test_every_verdict_has_a_sentence_of_its_own(verdict, word):
    blind = {"family": "retraining", "trace": 0.9, "low": 0.1, "high": 1.7, "counts": False, "detectable": 1.2}
    rows = [
        blind,
        blind | {"family": "attack", "trace": 1.04, "low": 0.86, "high": 1.22, "counts": True, "detectable": 0.3},
    ]
    sentence = _sentence(verdict, rows, 0.007, None)
    assert sentence.startswith(word) and "104 %" in sentence and "(86 to 122 %)" in sentence and "0.007" in sentence


def test_closed_cases_are_named_for_their_rows_may_be_the_claimants(claim_world):
    ids = claim_world.references.pool_index.ids.copy()
    ids[:7] = ""
    erased = replace(claim_world.references, pool_index=replace(claim_world.references.pool_index, ids=ids))
    (note,) = _notes(erased, registered=0, subjects=(), holdout=0, repeated=0)
    assert note.startswith("7 rows were erased from the register")


# What cannot be asked


def test_weights_that_were_destroyed(setting):
    oracle, references = setting
    with pytest.raises(ReferencesError, match="weights were destroyed once measured; make them with keep_weights"):
        audit_rows(oracle, mixed(oracle.data.select([0, 1, 2]), nz.Data.from_arrays(np.ones((1, 64)), [1])), references)


def test_no_references(claim_world):
    with pytest.raises(ReferencesError, match="keep_weights"):
        audit_rows(claim_world.oracle, claim_world.claimed, None)


def test_a_weight_that_is_gone(claim_world, tmp_path):
    shutil.copytree(claim_world.root / "references", tmp_path / "references")
    pool = nz.References.open(next((tmp_path / "references").iterdir()), claim_world.oracle)
    pool.store.weights(4).unlink()
    with pytest.raises(ReferencesError, match="keep_weights"):
        audit_rows(claim_world.oracle, claim_world.claimed, pool)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.ones((3, 5)), [1, 2, 3], r"shape \(5,\); the training rows have \(64,\)"),
        (np.ones((3, 64)), [1, 2, 10], "class 10; the model's classes are 0 to 9"),
        (np.ones((3, 64)), [-1, 2, 3], "class -1"),
        (np.ones((3, 64)), [0.5, 1.5, 2.5], "real targets"),
        (np.full((3, 64), np.nan), [0, 1, 2], "NaN"),
        (np.ones((3, 64), int), [0, 1, 2], r"features of torch.int64; the training rows have torch.float32"),
    ],
)
def test_rows_that_the_model_cannot_read(claim_world, x, y, says):
    with pytest.raises(UsageError, match=says):
        audit_rows(claim_world.oracle, nz.Data.from_arrays(x, np.array(y)), claim_world.references)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (np.full((3, 2), np.nan, np.float32), "NaN"),
        (np.ones(3, np.float32), r"targets of shape \(\); the training rows have \(2,\)"),
    ],
)
def test_real_targets_that_cannot_be_read(y, says):
    """A NaN would give a trace of NaN, which nothing compares as smaller: an accusation out of nowhere."""
    data = nz.Data.from_arrays(np.eye(4, dtype=np.float32), np.ones((4, 2), np.float32))
    recipe = nz.Recipe(lambda: nn.Linear(4, 2), nz.Regression())
    oracle = nz.TrainedModel(recipe.module(), recipe, data, None)
    with pytest.raises(UsageError, match=says):
        _require_same_shape(
            oracle, nz.Data.from_arrays(np.ones((3, 4), np.float32), y), SimpleNamespace(head={"outputs": 2})
        )
