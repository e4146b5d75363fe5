"""The screen: subjects that stand in for each other are refused, others are not."""

from types import SimpleNamespace

import numpy as np
import pytest

from neuralyzer.references.design import leave_out
from neuralyzer.references.readings import Half, Part, Readings
from neuralyzer.trace.screen import obstacle
from neuralyzer.trace.table import Table


def table(seed, siblings):
    """A pool where the requested subjects 0, 1, 2 are known to a member as far as it holds any of the three."""
    generator = np.random.default_rng(seed)
    subjects, size, members = 12, 16, 64
    keep = leave_out(members, np.full(subjects, size), 16 / 64, seed)
    known = keep.astype(float)
    if siblings:
        known[:, :3] = keep[:, :3].mean(1, keepdims=True)
    rows = known[:, np.repeat(np.arange(subjects), size)] * 1.5 + generator.normal(size=(members, subjects * size))
    half = Half(
        keep,
        list(np.arange(subjects * size).reshape(subjects, size)),
        {"own": Readings(rows + 2, 2 + generator.normal(size=(members, 200)))},
    )
    return Table(half, "own"), [Part(subject, half.positions[subject]) for subject in range(3)]


def test_independent_subjects_pass():
    """All but the few in a hundred that the test's own error costs."""
    refused = [obstacle(*table(seed, siblings=False)) for seed in range(12)]
    assert sum(reason is not None for reason in refused) <= 2


def test_subjects_that_stand_in_for_each_other_are_refused():
    refused = [obstacle(*table(seed, siblings=True)) for seed in range(12)]
    assert all(reason is not None and "stand in for each other: members" in reason for reason in refused)


def test_one_subject_needs_no_screen():
    made, parts = table(0, siblings=True)
    assert obstacle(made, parts[:1]) is None


def played(keep, z):
    """A table whose null z are given, by subject, for the members that lack it."""
    nulls = {s: SimpleNamespace(members=np.flatnonzero(~keep[:, s]), z=np.array(z[s])) for s in range(keep.shape[1])}
    return SimpleNamespace(
        half=SimpleNamespace(keep=keep),
        parts_null=lambda parts: [nulls[part.subject] for part in parts],
        null_z=lambda null: null.z,
    )


PAIR = [Part(0, np.arange(1)), Part(1, np.arange(1))]


def test_the_slope_by_hand():
    """Both subjects: two members lack the other too and read z = -1 or -3, two do not and read 1 or 3."""
    keep = np.ones((6, 2), dtype=bool)
    keep[:4, 0] = keep[[0, 1, 4, 5], 1] = False
    steep = played(keep, [[-2.9, -3.1, 3.1, 2.9]] * 2)  # slope -6
    assert "stand in for each other: members" in obstacle(steep, PAIR)
    flat = played(keep, [[0.1, -0.1, 0.1, -0.1]] * 2)
    assert obstacle(flat, PAIR) is None
    rising = played(keep, [[2.9, 3.1, -3.1, -2.9]] * 2)
    assert obstacle(rising, PAIR) is None
    # slope 0 +- 1: 8 values, each 1 off, spread 2, on 8 - 2 - 1 degrees: sqrt(8 / 5 / 2) > .5
    noisy = played(keep, [[1.0, -1.0, 1.0, -1.0]] * 2)
    assert "cannot tell" in obstacle(noisy, PAIR)


@pytest.mark.parametrize("overlap", [0, 4], ids=["never both", "always both"])
def test_members_that_never_differ_tell_nothing(overlap):
    keep = np.ones((8, 2), dtype=bool)
    keep[:4, 0] = keep[4 - overlap : 8 - overlap, 1] = False
    assert "cannot tell" in obstacle(played(keep, [[0.1, -0.1, 0.2, -0.2]] * 2), PAIR)
