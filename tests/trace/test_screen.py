"""The screen: subjects that resemble each other are refused together, others are not."""

import numpy as np
import pytest

from neuralyzer.references.design import leave_out
from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from neuralyzer.trace.screen import deviations, neighbours_inside, obstacle

SUBJECTS, SIZE, MEMBERS = 12, 16, 32


def made(seed, alike, count=3):
    """Members' own errors are shared within a cluster of rows; ``alike`` gives each requested subject one cluster."""
    generator = np.random.default_rng(seed)
    keep = leave_out(MEMBERS, np.full(SUBJECTS, SIZE), 6 / MEMBERS, seed)
    cluster = generator.integers(4, 12, SUBJECTS * SIZE)
    if alike:
        cluster[: count * SIZE] = 0
    errors = generator.normal(size=(MEMBERS, 12))[:, cluster] + 0.5 * generator.normal(size=(MEMBERS, SUBJECTS * SIZE))
    rows = keep[:, np.repeat(np.arange(SUBJECTS), SIZE)] * 1.5 + errors
    positions = list(np.arange(SUBJECTS * SIZE).reshape(SUBJECTS, SIZE))
    split = SplitValues(keep, positions, {"own": SignalValues(rows, generator.normal(size=(MEMBERS, 200)))})
    return split, [Part(subject, split.positions[subject]) for subject in range(count)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [2, 3, 6])
def test_subjects_that_resemble_each_other_are_refused(seed, count):
    assert obstacle(made(seed, True, count)[0], "own", made(seed, True, count)[1]).startswith("the requested subjects")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [2, 3, 6])
def test_others_are_not(seed, count):
    split, parts = made(seed, False, count)
    assert obstacle(split, "own", parts) is None
    share, expected = neighbours_inside(split, "own", parts)
    assert expected == pytest.approx((count - 1) / (SUBJECTS - 1))
    assert share == pytest.approx(expected, abs=0.12)


def test_one_subject_needs_no_screen():
    split, parts = made(0, True)
    assert obstacle(split, "own", parts[:1]) is None


def test_neighbours_against_a_plain_search():
    """Two rows a subject, by distances computed one by one."""
    split, parts = made(3, False)
    parts = [Part(part.subject, part.rows[:2]) for part in parts]
    points, asked = deviations(split, "own").T, {int(row): part for part in parts for row in part.rows}
    shares = []
    for row, part in asked.items():
        others = [k for k in range(len(points)) if k not in part.rows]
        near = sorted(others, key=lambda k: float(((points[k] - points[row]) ** 2).sum()))[:10]
        shares.append(np.mean([k in asked for k in near]))
    assert neighbours_inside(split, "own", parts)[0] == pytest.approx(np.mean(shares))


def test_what_members_know_for_having_held_a_row_is_no_resemblance():
    split, _ = made(0, False)
    points, held = deviations(split, "own"), split.rows_held_by
    for kind in (held, ~held):
        np.testing.assert_allclose(np.where(kind, points, 0).sum(0), 0, atol=1e-9)
    np.testing.assert_allclose(points.std(0), 1)
