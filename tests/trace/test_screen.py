"""The screen: subjects that stand in for each other are refused, others are not."""

import numpy as np
import pytest

from neuralyzer.references.design import leave_out
from neuralyzer.references.readings import Half, Part, Readings
from neuralyzer.trace.screen import ALIKE, CANNOT_TELL, LEAST, SIBLINGS, Profile, obstacle, slope
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


def refused(seed, siblings):
    made, parts = table(seed, siblings)
    return obstacle({"own": made}, ["own"], parts)


def test_independent_subjects_pass():
    """All but the one in twenty that the random sets allow."""
    assert sum(refused(seed, siblings=False) is not None for seed in range(12)) <= 2


def test_subjects_that_stand_in_for_each_other_are_refused():
    assert [refused(seed, siblings=True) for seed in range(12)] == [ALIKE] * 12


def test_one_subject_needs_no_screen():
    made, parts = table(0, siblings=True)
    assert obstacle({"own": made}, ["own"], parts[:1]) is None


def test_where_lacking_the_others_is_the_same_for_all_nothing_can_be_said():
    generator = np.random.default_rng(0)
    keep = np.ones((24, 4), dtype=bool)
    for subject in range(4):
        keep[6 * subject : 6 * subject + 6, subject] = False  # never two at once: a member lacks one or none
    rows = generator.normal(size=(24, 64))
    positions = list(np.arange(64).reshape(4, 16))
    made = Table(Half(keep, positions, {"own": Readings(rows + 2, generator.normal(size=(24, 200)))}), "own")
    assert obstacle({"own": made}, ["own"], [Part(s, positions[s]) for s in range(4)]) == CANNOT_TELL


def test_the_slope_against_least_squares():
    """One group by NumPy's own regression, two groups as independent evidence."""
    generator = np.random.default_rng(1)
    keep = generator.random((20, 3)) < 0.6
    lacks = ~keep
    others = (lacks.sum(1, keepdims=True) - lacks) / 2
    never = np.where(lacks, -2.0 * others + generator.normal(size=keep.shape), 0)
    seen = np.where(keep, generator.normal(size=keep.shape), 0)
    profiles = []
    for subject in range(3):
        a, b = never[:, subject].copy(), seen[:, subject].copy()
        a[lacks[:, subject]] -= a[lacks[:, subject]].mean()
        b[keep[:, subject]] -= b[keep[:, subject]].mean()
        profiles.append(Profile(a, b))
    z = expected = 0.0
    for mask, name, effect in ((lacks, "never", SIBLINGS[0]), (keep, "seen", SIBLINGS[1])):
        subject = np.nonzero(mask)[1]
        dummies = np.eye(3)[subject]
        x = np.column_stack([others[mask], dummies])
        y = np.stack([getattr(p, name) for p in profiles], 1)[mask]
        beta, rest, *_ = np.linalg.lstsq(x, y, rcond=None)
        error = np.sqrt(rest[0] / (len(y) - 4) * np.linalg.inv(x.T @ x)[0, 0])
        z += beta[0] / error / np.sqrt(2)
        expected -= effect / error / np.sqrt(2)
    assert slope(keep, [0, 1, 2], profiles) == pytest.approx((z, expected))
    assert expected > LEAST
