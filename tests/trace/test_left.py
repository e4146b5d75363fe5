"""What is left, by the families that count: 0 for retrained models, the trace for others."""

import numpy as np
import pytest

from neuralyzer.trace.left import trace_left


def family(trace, error, counts=True):
    return {"unlearned": trace, "low": trace - 1.96 * error, "high": trace + 1.96 * error, "counts": counts}


def test_by_hand():
    assert trace_left([family(0.5, 0.3)]) == pytest.approx(0.4)
    assert trace_left([family(0.5, 0.3), family(-0.4, 0.3)]) == pytest.approx(np.sqrt((0.16 + 0.07) / 2))
    assert trace_left([family(0.2, 0.3)]) == 0.0


def test_what_does_not_count_and_what_was_not_measured_say_nothing():
    noisy = family(6.67, 5.0, counts=False)
    assert trace_left([family(0.5, 0.3), noisy]) == trace_left([family(0.5, 0.3)])
    assert trace_left([noisy]) is None and trace_left([]) is None
    assert trace_left([{"unlearned": None, "low": None, "high": None, "counts": True}]) is None


def test_a_coarse_family_weighs_little():
    assert trace_left([family(0.1, 0.1), family(0.9, 0.45)]) == pytest.approx(0.17, abs=0.02)


@pytest.mark.parametrize("trace", [0.0, 0.3, 0.8])
def test_the_mean_square_is_unbiased(trace):
    generator = np.random.default_rng(0)
    errors = np.array([0.1, 0.15, 0.3])
    found = []
    for _ in range(4000):
        reads = trace + errors * generator.normal(size=3)
        total = sum((t**2 - e**2) / e**2 for t, e in zip(reads, errors, strict=True)) / np.sum(1 / errors**2)
        left = trace_left([family(t, e) for t, e in zip(reads, errors, strict=True)])
        assert left == pytest.approx(np.sqrt(max(0, total)))
        found.append(total)
    assert np.mean(found) == pytest.approx(trace**2, abs=0.01)
