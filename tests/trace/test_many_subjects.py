"""Tens of thousands of subjects: the null is learned from a thousand, and everyone can still be read."""

import numpy as np
import pytest

from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from neuralyzer.trace import null_table as tables
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import residual_trace

MEMBERS, SUBJECTS, HOLDOUT, GAP = 32, 2500, 200, 0.8


def split(gone=()):
    generator = np.random.default_rng(0)
    keep = np.ones((MEMBERS, SUBJECTS), dtype=bool)
    for subject in range(SUBJECTS):
        keep[generator.choice(MEMBERS, 7, replace=False), subject] = False
    base = generator.normal(size=SUBJECTS)
    rows = base + generator.normal(size=(MEMBERS, SUBJECTS)) + GAP * keep
    holdout = generator.normal(size=HOLDOUT) + generator.normal(size=(MEMBERS, HOLDOUT))
    positions = [np.array([], dtype=np.int64) if s in gone else np.array([s]) for s in range(SUBJECTS)]
    return SplitValues(keep, positions, {"margin": SignalValues(rows, holdout)})


@pytest.fixture(scope="module")
def world():
    return split()


def test_a_thousand_say_what_all_would(world, monkeypatch):
    some = NullTable(world, "margin")
    monkeypatch.setattr(tables, "MOST_SUBJECTS", SUBJECTS)
    every = NullTable(world, "margin")
    assert len(some.nulls) == 1000 and len(every.nulls) == SUBJECTS
    assert some.critical == pytest.approx(every.critical, rel=0.03)
    assert some.centre == pytest.approx(every.centre, abs=0.05)


def test_those_outside_the_sample_are_read_like_all_others(world):
    table = NullTable(world, "margin")
    other = next(s for s in range(SUBJECTS) if s not in table.nulls)
    assert other in table
    part = Part(other, world.positions[other])
    reading = world.signals["margin"].rows[:, other].mean()
    trace = residual_trace(table, [part], [np.array([reading])], [world.signals["margin"].holdout.mean(0)])
    assert np.isfinite(trace.trace) and table.sensitivity(other) > 0
    assert table.null_of(other) is table.null_of(other)


def test_an_erasure_moves_nobody_else_in_or_out(world):
    before = set(NullTable(world, "margin").subjects)
    gone = set(sorted(before)[:40])
    after = set(NullTable(split(gone), "margin").subjects)
    assert before - gone < after and len(after) == 1000
