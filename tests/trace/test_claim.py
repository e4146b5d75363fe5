"""Claims in a Gaussian world where the truth is known: who saw the rows reads 1, who did not reads 0."""

import numpy as np
import pytest

from neuralyzer.trace.claim import ClaimedReadings, claim_scores, claim_test, claim_trace, fitted_gap, p_above
from neuralyzer.trace.joint import joint_null
from neuralyzer.trace.null_table import NullTable
from tests.trace.world import gaussian

WORLD = gaussian(5, members=32, subjects=24, size=30)
TABLE = NullTable(WORLD.values, "own")


def claimed(generator, seen, n=40, offset=0.0):
    """Readings on rows that no member saw, by members and by a model that saw them or not."""
    level, spread = generator.normal(2, 1, n), generator.uniform(0.5, 1.5, n)
    gap = spread * generator.uniform(0.2, 1.8, n)
    model = level + seen * gap + spread * generator.normal(size=n) + offset * spread
    holdout = WORLD.outside_level + WORLD.outside_spread * (generator.normal(size=300) + offset)
    return ClaimedReadings(level + spread * generator.normal(size=(32, n)), model, holdout)


def traces(seen, count=60, **options):
    generator = np.random.default_rng(int(seen) + 7)
    return [claim_trace(TABLE, claimed(generator, seen, **options)) for _ in range(count)]


def test_a_model_that_saw_the_rows_reads_one():
    read = traces(1.0)
    assert np.mean([trace.trace for trace in read]) == pytest.approx(1, abs=0.12)
    assert np.mean([trace.z > TABLE.critical for trace in read]) > 0.95
    assert all(trace.low < trace.trace < trace.high for trace in read)


def test_a_model_that_did_not_reads_nothing_and_seldom_alarms():
    read = traces(0.0, 120)
    assert np.mean([trace.trace for trace in read]) == pytest.approx(0, abs=0.05)
    assert np.mean([trace.z > TABLE.critical for trace in read]) <= 0.05
    assert np.mean([trace.p_value for trace in read]) > 0.4


def test_what_the_holdout_shows_as_well_is_no_trace():
    read = traces(0.0, 40, offset=2.0)
    assert np.mean([trace.trace for trace in read]) == pytest.approx(0, abs=0.1)


def test_few_rows_have_little_power_and_say_so():
    assert np.mean([t.detectable for t in traces(0.0, 10, n=4)]) > 1.5 * np.mean(
        [t.detectable for t in traces(0.0, 10)]
    )


def test_the_detectable_trace_is_found():
    """With 95 % power, in a world where gaps are as predicted on average."""
    detectable = float(np.mean([trace.detectable for trace in traces(0.0, 20)]))
    assert np.mean([trace.z > TABLE.critical for trace in traces(detectable, 100)]) >= 0.9


def test_null_scores_are_those_of_members_held_against_all_others():
    """By hand for one member: weights, prediction and noise from the others alone."""
    rows = claimed(np.random.default_rng(1), 0.0)
    own, others = rows.members[3], np.delete(rows.members, 3, 0)
    outside = WORLD.values.signals["own"].holdout
    mu, sigma = others.mean(0), np.maximum(others.std(0, ddof=1), TABLE.spread_floor)
    d = np.maximum(fitted_gap(TABLE).curve.on(mu), TABLE.gap_floor) / sigma
    m, s = TABLE.holdout_all.mean, TABLE.holdout_all.spread
    y, x = (outside[3] - np.delete(outside, 3, 0).mean(0)) / s, m / s
    c1, c0 = np.polyfit(x, y, 1)
    g = np.sqrt(np.square(np.clip(y - c0 - c1 * x, -4, 4)).mean())
    want = (d / sigma) @ (own - mu - c0 * sigma - c1 * mu) / (g * np.linalg.norm(d))
    assert claim_scores(TABLE, rows)[3] == pytest.approx(want)


def test_only_an_excess_alarms():
    tables = {"own": TABLE}
    null = joint_null(tables, ["own"])
    high = claim_test(tables, {"own": float(null.max()) + 1}, ["own"], 0.05)
    assert high.rejects and high.p_value == pytest.approx(1 / (1 + len(null)))
    low = claim_test(tables, {"own": -9.0}, ["own"], 0.05)
    assert not low.rejects and low.p_value == 1.0
    assert high.critical == pytest.approx(np.quantile(null, 0.95))


def test_p_above():
    assert p_above(np.array([1.0, 2.0, 3.0]), 2.0) == pytest.approx(3 / 4)
