"""The never-seen prediction, against numpy's least squares."""

import numpy as np
import pytest
import scipy.stats

from neuralyzer.trace.prediction import Holdout


@pytest.fixture
def given():
    generator = np.random.default_rng(0)
    holdout = Holdout(generator.normal(3, 2, 50), generator.uniform(0.5, 2, 50))
    never = holdout.mean + generator.normal(size=50) / 5
    return holdout, never, 1.1 * never + 0.3 * holdout.spread * generator.normal(1, 1, 50)


def test_least_squares(given):
    holdout, never, reading = given
    got = holdout.shift(reading, never)
    y, x = (reading - never) / holdout.spread, holdout.mean / holdout.spread
    (c0, c1), *_ = np.linalg.lstsq(np.stack([np.ones(50), x], 1), y, rcond=None)
    line = scipy.stats.linregress(x, y)
    assert (got.c0, got.c1) == pytest.approx((c0, c1)) == (line.intercept, line.slope)
    assert got.noise == pytest.approx(np.sqrt(np.mean((y - c0 - c1 * x) ** 2)))
    assert got.on(np.array([2.0]), np.array([0.5])).tolist() == pytest.approx([0.5 * c0 + 2 * c1])


def test_residuals_are_clipped_at_four_in_the_noise_alone(given):
    holdout, never, reading = given
    reading = reading.copy()
    reading[7] += 100 * holdout.spread[7]
    got = holdout.shift(reading, never)
    y, x = (reading - never) / holdout.spread, holdout.mean / holdout.spread
    slope, intercept = np.polyfit(x, y, 1)
    residuals = y - intercept - slope * x
    assert (got.c0, got.c1) == pytest.approx((intercept, slope)) and residuals.max() > 90
    assert got.noise == pytest.approx(np.sqrt(np.mean(np.clip(residuals, -4, 4) ** 2)))


def test_a_model_that_is_a_member_needs_no_shift(given):
    holdout, never, _ = given
    got = holdout.shift(never, never)
    assert (got.c0, got.c1) == (0, 0)
    assert 0 < got.noise < 1e-5  # floored, so that scores stay finite


def test_rows_that_are_all_alike_have_no_slope(given):
    _, never, reading = given
    alike = Holdout(np.full(50, 2.0), np.ones(50))
    got = alike.shift(reading, never)
    assert (got.c0, got.c1) == (pytest.approx(np.mean(reading - never)), 0)
