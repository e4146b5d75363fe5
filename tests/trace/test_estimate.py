"""Score and gap by hand."""

from dataclasses import replace

import numpy as np
import pytest

from neuralyzer.trace.estimate import gap, score
from neuralyzer.trace.moments import Moments
from neuralyzer.trace.prediction import Holdout, Shift

HOLDOUT = Holdout(np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 1.0]))
LEVEL = np.array([1.0, 2.0, 4.0])
MOMENTS = Moments(
    never=np.array([1.0, 2.0, 0.0]),
    seen=np.array([3.0, 2.5, -1.0]),
    spread=np.array([1.0, 0.5, 2.0]),
    n_never=6,
    n_seen=np.array([26.0, 26.0, 13.0]),
)


def test_the_gap_by_hand():
    """delta = (2, .5, -1), floor .1: d = (2, 1, .05), w = (2, 2, .025), two rows above."""
    got = gap(MOMENTS, HOLDOUT, LEVEL, LEVEL, 0.1)
    assert got.weights.tolist() == pytest.approx([2, 2, 0.025]) and got.bias == pytest.approx(2 / 6)
    assert got.norm == pytest.approx(np.sqrt(4 + 1 + 0.0025))
    assert got.unit == pytest.approx(2 * 2 + 1 * 1 + 0.05 * -0.5 - 2 * (1 / 6 + 1 / 26))


def test_what_sets_the_groups_apart_on_the_holdout_is_no_gap():
    """Members that saw the subject read half a spread more on rows that nobody saw: so much less is gap."""
    got = gap(MOMENTS, HOLDOUT, LEVEL + 0.5, LEVEL, 0.1)
    delta = np.array([2 - 0.5, 0.5 - 0.25, -1 - 1.0])
    assert got.weights[:2].tolist() == pytest.approx([1.5, 0.5 / 0.5]) and got.bias == pytest.approx(2 / 6)
    d = np.array([1.5, 0.5, 0.05])
    assert got.unit == pytest.approx(d @ (delta / [1, 0.5, 2]) - 2 * (1 / 6 + 1 / 26))


def test_rows_of_which_a_model_is_not_asked_count_nothing():
    """Of rows 1 and 3, by 6 and by 4 members that never saw them."""
    some = replace(MOMENTS, n_never=np.array([6.0, 5.0, 4.0]))
    got = gap(some, HOLDOUT, LEVEL, LEVEL, 0.1, np.array([True, False, True]))
    assert got.weights.tolist() == pytest.approx([2, 0, 0.025]) and got.bias == pytest.approx(1 / 6)
    assert got.norm == pytest.approx(np.sqrt(4 + 0.0025))
    assert got.unit == pytest.approx(2 * 2 + 0.05 * -0.5 - (1 / 6 + 1 / 26))
    assert score(np.array([2.0, 1e9, 1.0]), some, Shift(0.5, 0.1, 2.0), got) == pytest.approx(
        (2 * 0.4 - 1 / 6) / (2 * got.norm)
    )


def test_the_unit_is_at_least_three_tenths_of_the_squared_norm():
    small = Moments(MOMENTS.never, MOMENTS.never + 0.15, MOMENTS.spread, 6, MOMENTS.n_seen)
    got = gap(small, HOLDOUT, LEVEL, LEVEL, 0.1)
    d = 0.15 / MOMENTS.spread
    assert d @ d < 3 * (1 / 6 + 1 / 26) and got.unit == pytest.approx(0.3 * d @ d)


def test_the_score_by_hand():
    """Excess (2 - 1 - .6, 3 - 2 - .45, 1 - 0 - 1) = (.4, .55, 0), weighted 1.9, less 2 / 6, over 2 |d|."""
    own = gap(MOMENTS, HOLDOUT, LEVEL, LEVEL, 0.1)
    got = score(np.array([2.0, 3.0, 1.0]), MOMENTS, Shift(0.5, 0.1, 2.0), own)
    assert got == pytest.approx((2 * 0.4 + 2 * 0.55 - 2 / 6) / (2 * own.norm))


def test_a_seen_member_scores_the_unit_and_a_never_seen_one_nothing():
    own = gap(MOMENTS, HOLDOUT, LEVEL, LEVEL, 0.1)
    still = Shift(0.0, 0.0, 1.0)
    assert score(MOMENTS.never, MOMENTS, still, own) * own.norm == pytest.approx(-2 / 6)
    seen = score(MOMENTS.seen, MOMENTS, still, own) * own.norm
    assert seen == pytest.approx(own.unit + 2 / 26)
