"""The trace of a model: against the worked example, by planted traces, and how several subjects add."""

from dataclasses import replace

import numpy as np
import pytest

from neuralyzer.trace.estimate import score
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import residual_trace, trace_alone
from tests.trace.conftest import SIGNALS
from tests.trace.world import gaussian


@pytest.mark.parametrize("field", ["trace", "se", "z", "p_value", "low", "high", "detectable"])
def test_the_worked_example(worked, field):
    want = worked.want[{"p_value": "want_p"}.get(field, f"want_{field}")]
    got = np.array([[getattr(worked.trace(case, signal), field) for signal in SIGNALS] for case in range(40)])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)


def test_the_worked_example_tells_originals_from_retrained(worked):
    """Where the subject has rows enough: those of two rows read anything."""
    cases = [case for case in range(40) if len(worked.part(case).rows) >= 30]
    original = worked.want["case_is_original"][cases]
    traces = np.array([worked.trace(case, "margin").trace for case in cases])
    assert len(original) >= 6 and 0 < original.sum() < len(original)
    assert traces[original].mean() == pytest.approx(1, abs=0.15)
    assert traces[~original].mean() == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("shape", [{}, {"noise": 1.3}, {"c0": 0.4}, {"c1": 0.3}], ids=str)
@pytest.mark.parametrize("truth", [0.0, 0.5, 1.0])
def test_planted_traces_are_read(truth, shape):
    """Whatever sets the model apart on the holdout as well: noise of its own, a shift, a stretch."""
    world = gaussian(1)
    table, generator = NullTable(world.values, "own"), np.random.default_rng(2)
    read = []
    for subject in range(24):
        for _ in range(4):
            rows, outside = world.model(subject, truth, generator, **shape)
            read.append(residual_trace(table, [world.part(subject)], [rows], [outside]))
    traces = np.array([one.trace for one in read])
    assert traces.mean() == pytest.approx(truth, abs=0.06)
    assert np.mean([one.low <= truth <= one.high for one in read]) >= 0.9
    # the standard error is the size of the error
    assert 0.6 < np.sqrt(np.square(traces - truth).mean()) / np.mean([one.se for one in read]) < 1.3


def test_false_alarms_and_power():
    world = gaussian(11)
    table, generator = NullTable(world.values, "own"), np.random.default_rng(3)

    def read(subject, truth):
        rows, outside = world.model(subject, truth, generator)
        return residual_trace(table, [world.part(subject)], [rows], [outside])

    never = [(subject, read(subject, 0.0)) for subject in range(24) for _ in range(10)]
    assert np.mean([one.p_value <= 0.05 for _, one in never]) <= 0.08
    found = [read(subject, one.detectable).p_value <= 0.05 for subject, one in never]
    assert np.mean(found) == pytest.approx(0.95, abs=0.05)  # what "detectable" promises


def test_the_power_that_is_asked_for_lies_in_the_detectable_trace_alone():
    world = gaussian(1)
    table = NullTable(world.values, "own")
    rows, outside = world.model(5, 0.5, np.random.default_rng(0))
    weak, strong = (residual_trace(table, [world.part(5)], [rows], [outside], found) for found in (1.645, 2.241))
    assert strong.trace == weak.trace and strong.p_value == weak.p_value and strong.low == weak.low
    null = table.nulls[5]
    unit = table.holdout(5).shift(outside, null.never).noise * null.gap.norm / null.gap.unit
    grown = (2.241 - 1.645) * np.sqrt(null.seen_variance) * unit
    assert strong.detectable - weak.detectable == pytest.approx(grown)


def test_several_subjects_add_as_independent():
    """T = sum (q - ctr) g |d| / sum D; se^2 = sum (sd g |d|)^2 / (sum D)^2 + tau^2, tau once."""
    world = gaussian(2, size=12)
    table, generator = NullTable(world.values, "own"), np.random.default_rng(1)
    subjects = [3, 8, 13]
    parts = [world.part(subject) for subject in subjects]
    given = [world.model(subject, 0.7, generator) for subject in subjects]
    got = residual_trace(table, parts, [rows for rows, _ in given], [outside for _, outside in given])
    above = unit = noise = seen = 0.0
    for subject, (rows, outside) in zip(subjects, given, strict=True):
        null = table.nulls[subject]
        shift = table.holdout(subject).shift(outside, null.never)
        g = shift.noise
        above += (score(rows, null.moments, shift, null.gap) - table.centre) * g * null.gap.norm
        unit += null.gap.unit
        noise += (table.sd(null) * g * null.gap.norm) ** 2
        seen += null.seen_variance * (g * null.gap.norm) ** 2
    tau = (1 - world.values.keep.mean()) / 2
    assert got.trace == pytest.approx(above / unit)
    assert got.se == pytest.approx(np.sqrt(noise / unit**2 + tau**2))
    assert got.z == pytest.approx(got.trace / got.se)
    assert got.detectable == pytest.approx(table.critical * got.se + 1.645 * np.sqrt(seen) / unit)
    alone = [residual_trace(table, [p], [r], [o]) for p, (r, o) in zip(parts, given, strict=True)]
    assert got.se < min(one.se for one in alone)


def test_the_estimate_alone_makes_no_null_of_the_parts():
    world = gaussian(5)
    table, other, generator = NullTable(world.values, "own"), NullTable(world.values, "own"), np.random.default_rng(4)
    read = [world.model(subject, 0.5, generator) for subject in (3, 7, 20)]
    rows, outside = zip(*read, strict=True)
    parts = [world.part(subject) for subject in (3, 7, 20)]
    parts[1], rows = replace(parts[1], rows=parts[1].rows[:2]), (rows[0], rows[1][:2], rows[2])
    want = residual_trace(table, parts, rows, outside).trace
    other.centre = table.centre  # learned from all nulls
    assert trace_alone(other, parts, rows, outside) == pytest.approx(want, rel=1e-12)
    assert want and "nulls" not in vars(other)


def test_tau_is_half_the_share_left_out():
    world = gaussian(2)
    table = NullTable(world.values, "own")
    rows, outside = world.model(0, 1.0, np.random.default_rng(0))
    wide = residual_trace(table, [world.part(0)], [rows], [outside])
    object.__setattr__(world.values, "share", 0.0)
    exact = residual_trace(table, [world.part(0)], [rows], [outside])
    assert wide.se**2 - exact.se**2 == pytest.approx((6 / 32 / 2) ** 2)
