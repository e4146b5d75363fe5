"""Moments of hand-made groups, against numpy."""

import numpy as np
import pytest

from neuralyzer.trace.moments import floored, moments, without_each

NEVER = np.array([[1.0, 4.0], [3.0, 4.0], [2.0, 7.0]])
SEEN = np.array([[5.0, 8.0], [7.0, 10.0], [6.0, 12.0], [10.0, 14.0]])
ALL = np.ones(SEEN.shape, dtype=bool)


def test_means_and_pooled_spread():
    got = moments(NEVER, SEEN, ALL)
    assert got.never.tolist() == [2.0, 5.0] and got.seen.tolist() == [7.0, 11.0]
    # within: row 0 has (1 + 1 + 0) + (4 + 0 + 1 + 9), row 1 has (1 + 1 + 4) + (9 + 1 + 1 + 9), on 3 + 4 - 2
    assert got.spread.tolist() == pytest.approx(np.sqrt([16 / 5, 26 / 5]).tolist())
    assert got.n_never.tolist() == [3, 3] and got.n_seen.tolist() == [4, 4]


def test_members_that_did_not_hold_a_row_count_nothing_on_it():
    held = ALL.copy()
    held[3, 0] = held[0, 1] = held[1, 1] = False
    spoiled = np.where(held, SEEN, 1e9)
    got = moments(NEVER, spoiled, held)
    for row in (0, 1):
        own = SEEN[held[:, row], row]
        want = np.sqrt((np.var(NEVER[:, row]) * 3 + np.var(own) * len(own)) / (3 + len(own) - 2))
        assert got.seen[row] == own.mean() and got.n_seen[row] == len(own)
        assert got.spread[row] == pytest.approx(want)


def test_members_that_are_not_asked_about_a_row_count_nothing_on_it():
    asked = np.array([[True, True], [True, False], [False, True]])
    got = moments(np.where(asked, NEVER, 1e9), SEEN, ALL, comparable=asked)
    assert got.never.tolist() == [2.0, 5.5] and got.n_never.tolist() == [2, 2]
    # within: row 0 has (1 + 1) + 14, row 1 has (2.25 + 2.25) + 20, on 2 + 4 - 2
    assert got.spread.tolist() == pytest.approx(np.sqrt([16 / 4, 24.5 / 4]).tolist())


def test_floor():
    assert moments(NEVER, SEEN, ALL, floor=2.0).spread.tolist() == pytest.approx([2.0, np.sqrt(26 / 5)])
    # a quarter of the median over rows on which members differ: of 1, 4, 8, 16
    assert floored(np.array([0.0, 1.0, 4.0, 8.0, 16.0])).tolist() == [1.5, 1.5, 4.0, 8.0, 16.0]


def test_a_signal_that_saturates_on_most_rows_still_has_a_floor():
    assert floored(np.array([0.0, 0.0, 0.0, 4.0])).tolist() == [1.0, 1.0, 1.0, 4.0]
    assert floored(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("all_held", [True, False])
@pytest.mark.parametrize("all_asked", [True, False])
def test_without_each_is_what_moments_of_the_others_are(all_held, all_asked):
    generator = np.random.default_rng(2)
    never, seen = generator.normal(size=(6, 5)), generator.normal(size=(9, 5))
    held = np.ones((9, 5), dtype=bool) if all_held else generator.random((9, 5)) < 0.7
    asked = np.ones((6, 5), dtype=bool)
    asked[1, 0] = asked[4, 0] = asked[5, 3] = all_asked
    spoiled = np.where(asked, never, 1e9)
    together = without_each(spoiled, seen, held, 0.3, asked)
    for left in range(6):
        others = np.delete(asked, left, axis=0)
        alone = moments(np.delete(spoiled, left, axis=0), seen, held, 0.3, others)
        assert together.n_never[left].tolist() == alone.n_never.tolist() == others.sum(0).tolist()
        np.testing.assert_allclose(together.never[left], alone.never, rtol=1e-12)
        np.testing.assert_allclose(together.spread[left], alone.spread, rtol=1e-12)
    np.testing.assert_allclose(together.seen, alone.seen)
