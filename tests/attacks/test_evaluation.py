"""What attacks achieve in a world where the truth is known."""

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from neuralyzer.attacks import evaluation
from neuralyzer.attacks.evaluation import on_members, on_request, readable
from neuralyzer.attacks.shadows import Shadows
from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from tests.trace.world import gaussian

ATTACKS = ["lira-online", "lira-offline", "rmia-online", "rmia-offline"]


def world(seed=0, gap=1.0, **options):
    return gaussian(seed, gap=gap, signals=("margin",), **options)


def one(found, attack, unit):
    (only,) = [own for own in found if (own.attack, own.unit) == (attack, unit)]
    return only


def test_every_attack_by_row_and_by_subject():
    found = on_members(world().values, True)
    assert [(own.attack, own.unit) for own in found] == [(a, u) for a in ATTACKS for u in ("row", "subject")]
    for own in found:
        pairs = 32 * 24 if own.unit == "subject" else 32 * 24 * 30
        assert own.roc.positives + own.roc.negatives == pairs and own.percentile is None
    assert {own.attack for own in on_members(world().values, False)} == {"lira-online", "lira-offline"}


def test_members_are_told_from_others_as_scikit_learn_would_say():
    split = world().values
    held, scores = split.rows_held_by, Shadows.of(split, np.arange(720), True).of_members()
    subjects = np.repeat(np.arange(24), 30)
    for own in on_members(split, True):
        score, truth = scores[own.attack], held
        if own.unit == "subject":
            score = np.stack([score[:, subjects == s].mean(1) for s in range(24)], axis=1).round(9)
            truth = split.keep
        assert own.roc.auc.value == pytest.approx(metrics.roc_auc_score(truth.ravel(), score.ravel()))


def test_a_gap_is_found_and_none_is_not():
    nothing, something = on_members(world(gap=0.0).values, True), on_members(world(gap=1.0).values, True)
    for attack in ATTACKS:
        for unit in ("row", "subject"):
            none = one(nothing, attack, unit).roc.auc
            assert none.low <= 0.5 <= none.high or abs(none.value - 0.5) < 0.04
            assert one(something, attack, unit).roc.auc.low > 0.6
        assert one(something, attack, "subject").roc.auc.value > one(something, attack, "row").roc.auc.value


@pytest.mark.parametrize("subjects", [[4], [4, 9, 11]])
def test_a_model_that_saw_the_rows_and_one_that_did_not(subjects):
    here = world(gap=2.0)
    parts = [here.part(subject) for subject in subjects]
    generator = np.random.default_rng(5)

    def attacked(trace):
        read = [here.model(subject, trace, generator) for subject in subjects]
        return on_request(here.values, parts, [rows for rows, _ in read], read[0][1], True)

    saw, never = attacked(1.0), attacked(0.0)
    for attack in ATTACKS:
        row, subject = one(saw, attack, "row"), one(saw, attack, "subject")
        assert row.roc.positives == 30 * len(subjects) and row.roc.negatives == 30 * 6 * len(subjects)
        assert row.roc.auc.low > 0.6 and subject.roc.positives == len(subjects)
        assert subject.percentile > 0.9 and subject.score > one(never, attack, "subject").score
        assert subject.roc.tpr[0.01].value is None, "six members a subject cannot resolve it"
        assert abs(one(never, attack, "row").roc.auc.value - 0.5) < 0.15
    assert one(saw, "lira-online", "row").roc.tpr[0.01].value > one(never, "lira-online", "row").roc.tpr[0.01].value


def test_a_part_of_a_subject_and_an_erased_row():
    here = world()
    rows = here.values.signals["margin"].rows.copy()
    rows[:, 121] = np.nan
    split = replace(here.values, signals={"margin": SignalValues(rows, here.values.signals["margin"].holdout)})
    reading, beyond = here.model(4, 1.0, np.random.default_rng(0))
    found = on_request(split, [Part(4, np.arange(120, 125))], [reading[:5]], beyond, True)
    assert one(found, "lira-online", "row").roc.positives == 4
    rows[:, 120:150] = np.nan
    assert on_request(split, [Part(4, np.arange(120, 125))], [reading[:5]], beyond, True) == ()
    whole = on_members(split, True)
    assert one(whole, "lira-online", "row").roc.positives == 26 * 23 * 30


def test_nothing_left_is_nothing_told():
    split = world().values
    blank = SignalValues(np.full_like(split.signals["margin"].rows, np.nan), split.signals["margin"].holdout)
    assert on_members(replace(split, signals={"margin": blank}), True) == ()
    assert readable(split) and not readable(replace(split, signals={}))


def test_rows_lacked_through_a_group_are_no_members():
    """A member that lacks a whole class holds only some rows of a subject; it is read on those."""
    here = world(subjects=8, size=12)
    split = here.values
    classes = np.arange(96) % 3
    lacks = np.zeros((32, 3), dtype=bool)
    for label in range(3):
        lacks[np.arange(6) + 6 * label, label] = True
    held = split.rows_held_by & ~lacks[:, classes]
    positions = [*split.positions, *(np.flatnonzero(classes == label) for label in range(3))]
    grouped = SplitValues(np.concatenate([split.keep, ~lacks], axis=1), positions, split.signals, held)
    found = on_members(grouped, True)
    row, subject = one(found, "lira-online", "row").roc, one(found, "lira-online", "subject").roc
    assert (row.positives, row.negatives) == (held.sum(), (~held).sum())
    assert subject.negatives == (~grouped.keep).sum()


def test_large_halves_are_sampled_by_subject(monkeypatch):
    split = world().values
    monkeypatch.setattr(evaluation, "LARGEST", 32 * 100)
    found = one(on_members.__wrapped__(split, True), "lira-online", "row").roc
    assert found.positives + found.negatives == 32 * 90
    part = Part(0, split.positions[0])
    monkeypatch.setattr(evaluation, "LARGEST", 32 * 10)
    asked = on_request(
        split, [part], [split.signals["margin"].rows[0, part.rows]], split.signals["margin"].holdout[0], True
    )
    assert one(asked, "lira-online", "row").roc.positives == 10


def test_it_takes_no_time():
    split = world(subjects=30, size=48, holdout=360).values
    began = time.perf_counter()
    on_members.__wrapped__(split, True)
    assert time.perf_counter() - began < 3
