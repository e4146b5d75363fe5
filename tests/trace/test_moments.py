"""Moments of hand-made groups, against numpy."""

import numpy as np
import pytest

from neuralyzer.trace.moments import floored, moments

NEVER = np.array([[1.0, 4.0], [3.0, 4.0], [2.0, 7.0]])
SEEN = np.array([[5.0, 8.0], [7.0, 10.0], [6.0, 12.0], [10.0, 14.0]])
ALL = np.ones(SEEN.shape, dtype=bool)


def test_means_and_pooled_spread():
    got = moments(NEVER, SEEN, ALL)
    assert got.never.tolist() == [2.0, 5.0] and got.seen.tolist() == [7.0, 11.0]
    # within: row 0 has (1 + 1 + 0) + (4 + 0 + 1 + 9), row 1 has (1 + 1 + 4) + (9 + 1 + 1 + 9), on 3 + 4 - 2
    assert got.spread.tolist() == pytest.approx(np.sqrt([16 / 5, 26 / 5]).tolist())
    assert got.n_never == 3 and got.n_seen.tolist() == [4, 4]


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


def test_floor():
    assert moments(NEVER, SEEN, ALL, floor=2.0).spread.tolist() == pytest.approx([2.0, np.sqrt(26 / 5)])
    # a quarter of the median over rows on which members differ: of 1, 4, 8, 16
    assert floored(np.array([0.0, 1.0, 4.0, 8.0, 16.0])).tolist() == [1.5, 1.5, 4.0, 8.0, 16.0]


def test_a_signal_that_saturates_on_most_rows_still_has_a_floor():
    assert floored(np.array([0.0, 0.0, 0.0, 4.0])).tolist() == [1.0, 1.0, 1.0, 4.0]
    assert floored(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
