"""The positive control: when it fails, and the unit that it tells."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from neuralyzer.trace.positive_control import PositiveControl, SignalControl, weighted_mean


def control(found, promised, **signals):
    return PositiveControl(40, 1, found, promised, found, signals)


def signal(trace, low, high):
    return SignalControl(0.5, 0.5, trace, low, high)


@pytest.mark.parametrize("promised", [1, 2, 5, 12, 24, 100])
def test_it_fails_where_95_in_a_hundred_is_no_longer_likely(promised):
    for found in range(promised + 1):
        assert control(found, promised).passed == (binom.cdf(found, promised, 0.95) >= 0.01)


@pytest.mark.parametrize(
    ("found", "promised", "passed"),
    [(24, 24, True), (20, 24, True), (14, 24, False), (4, 24, False), (0, 2, False), (0, 0, True)],
)
def test_by_number(found, promised, passed):
    assert control(found, promised).passed is passed


@pytest.mark.parametrize(
    ("own", "scale"),
    [
        (signal(1.1, 0.9, 1.3), 1.0),
        (signal(0.9, 0.7, 1.1), 1.0),  # not surely below 1
        (signal(0.8, 0.74, 0.86), 0.74),
        (signal(1.4, 1.2, 1.6), 1.0),  # a trace that reads too high makes no detectable trace smaller
        (signal(0.0, -0.2, 0.2), 0.01),
    ],
)
def test_the_unit(own, scale):
    assert control(9, 9, margin=own).scale("margin") == scale
    assert control(9, 9, margin=own).scale("another") == 1.0


def test_a_weighted_mean_and_its_error_against_a_bootstrap():
    generator = np.random.default_rng(0)
    values, weights = generator.normal(1, 0.4, 400), generator.uniform(0.1, 3, 400)
    mean, error = weighted_mean(values, weights)
    assert mean == pytest.approx(np.average(values, weights=weights))
    drawn = generator.integers(400, size=(4000, 400))
    means = (values[drawn] * weights[drawn]).sum(1) / weights[drawn].sum(1)
    assert error == pytest.approx(means.std(), rel=0.06)
    assert weighted_mean(np.array([0.7]), np.array([2.0])) == (0.7, 0.7), "one value tells nothing of its error"


def test_it_can_be_written_down_and_read_back():
    own = control(3, 4, margin=signal(0.8, 0.7, 0.9))
    written = json.loads(json.dumps(own.to_dict()))
    assert PositiveControl.from_dict(written) == own and written["passed"] is True
    assert PositiveControl.optional(None) is None and PositiveControl.optional(written) == own


@pytest.mark.parametrize(
    ("signals", "faint"),
    [
        ({"margin": signal(0.2, 0.0, 0.4)}, True),
        ({"margin": signal(0.2, 0.0, 0.4), "fisher": signal(0.4, 0.3, 0.5)}, False),  # not surely below half
        ({"margin": signal(0.2, 0.0, 0.4), "correct": replace(signal(0.6, 0.4, 0.8), promised=0.0)}, True),
        ({"correct": replace(signal(0.2, 0.0, 0.4), promised=0.0)}, False),  # no family could see a whole trace
        ({}, False),
    ],
)
def test_a_model_that_shows_less_than_half_of_what_it_kept_fails_whatever_it_is_found_on(signals, faint):
    for found, promised in ((0, 0), (8, 8)):
        own = control(found, promised, **signals)
        assert own.faint is faint and own.passed is not faint
        assert ("less than half of a trace" in own.failure) is faint
