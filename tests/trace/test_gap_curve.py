"""The predicted gap follows the training rows' true one."""

import numpy as np
import pytest

from neuralyzer.references.signal_values import SignalValues, SplitValues
from neuralyzer.trace.gap_curve import KNOTS, GapCurve, gap_curve
from neuralyzer.trace.null_table import NullTable
from tests.trace.world import gaussian


def test_it_is_flat_where_every_row_has_the_same_gap_on_average():
    curve = gap_curve(NullTable(gaussian(0).values, "own"))
    assert len(curve.at) == KNOTS and (np.diff(curve.at) > 0).all()
    np.testing.assert_allclose(curve.gap[1:-1], 1.0, atol=0.35)  # gap 1 spread, spreads .5 to 1.5


def test_it_follows_a_gap_that_falls_with_what_is_known_unseen():
    world = gaussian(1, subjects=24, size=40)
    saw = world.values.keep[:, np.repeat(np.arange(24), 40)]
    falling = np.maximum(3 - world.level, 0)
    generator = np.random.default_rng(2)
    rows = world.level + falling * saw + 0.1 * generator.normal(size=saw.shape)
    split = SplitValues(
        world.values.keep, world.values.positions, {"own": SignalValues(rows, world.values.signals["own"].holdout)}
    )
    curve = gap_curve(NullTable(split, "own"))
    at = np.array([0.8, 1.5, 2.0, 2.5])
    np.testing.assert_allclose(curve.on(at), 3 - at, atol=0.1)


def test_beyond_the_outermost_it_stays_level():
    curve = GapCurve(np.array([0.0, 1.0]), np.array([2.0, 1.0]))
    assert curve.on(np.array([-5, 0.5, 9])) == pytest.approx([2, 1.5, 1])
