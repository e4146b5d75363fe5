"""The null distribution: against the worked example, and the variance among seen members against plain loops."""

import numpy as np
import pytest

from neuralyzer.references.design import leave_out
from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from neuralyzer.trace.estimate import gap, score
from neuralyzer.trace.moments import moments
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import residual_trace
from tests.trace.conftest import SIGNALS
from tests.trace.world import gaussian

CLOSE = {"rtol": 0, "atol": 1e-9}


@pytest.mark.parametrize(("at", "signal"), list(enumerate(SIGNALS)))
def test_the_worked_example(worked, at, signal):
    table, want = worked.tables[signal], worked.want
    assert table.subjects == want["scored_subjects"].tolist()
    np.testing.assert_allclose(table.critical, want["crit"][at], **CLOSE)
    np.testing.assert_allclose(table.centre, want["centre"][at], **CLOSE)
    null_z = np.concatenate([table.subject_z[subject] for subject in table.subjects])
    np.testing.assert_allclose(null_z, want["null_z"][at], **CLOSE)


def seen_variance(phi, outside, keep, held, subject, rows, floors):
    """Step 6 of the formulas, for each member on the rows that it held."""
    spread_floor, gap_floor = floors
    saw = np.flatnonzero(keep[:, subject])
    never = np.flatnonzero(~keep[:, subject])
    mean, spread = outside.mean(0), outside.std(0, ddof=1)
    spread = np.maximum(spread, np.median(spread) / 4)

    def fit(reading, base):
        x = np.stack([np.ones(len(mean)), mean / spread], 1)
        return np.linalg.lstsq(x, (reading - base) / spread, rcond=None)[0]

    mu = phi[never][:, rows].mean(0)
    nu = np.array([np.mean([phi[m, i] for m in saw if held[m, i]]) for i in rows])
    sigma = np.empty(len(rows))
    for at, i in enumerate(rows):
        squares = [(phi[m, i] - mu[at]) ** 2 for m in never]
        squares += [(phi[m, i] - nu[at]) ** 2 for m in saw if held[m, i]]
        sigma[at] = max(np.sqrt(sum(squares) / (len(squares) - 2)), spread_floor)
    base = outside[never].mean(0)
    c0, c1 = fit(outside[saw].mean(0), base)
    d = np.maximum(nu - mu - c0 * sigma - c1 * mu, gap_floor) / sigma
    values = []
    for m in saw:
        e0, e1 = fit(outside[m], base)
        value = information = 0.0
        for at, i in enumerate(rows):
            others = [phi[k, i] for k in saw if held[k, i] and k != m]
            if held[m, i] and others:
                value += d[at] / sigma[at] * (phi[m, i] - np.mean(others) - e0 * sigma[at] - e1 * mu[at])
                information += d[at] ** 2
        if information:
            values.append(value / np.sqrt(information))
    return np.var(values, ddof=1)


@pytest.mark.parametrize("whole", [True, False], ids=["subjects", "with groups"])
def test_variance_among_members_that_saw_the_subject(whole):
    world = gaussian(3, subjects=12, size=7, holdout=80)
    keep, readings = world.values.keep, world.values.signals["own"]
    generator = np.random.default_rng(0)
    held = keep[:, np.repeat(np.arange(12), 7)] & (whole | (generator.random(readings.rows.shape) < 0.7))
    split = SplitValues(keep, world.values.positions, {"own": readings}, None if whole else held)
    table = NullTable(split, "own")
    floors = table.spread_floor, table.gap_floor
    for subject in range(12):
        want = seen_variance(readings.rows, readings.holdout, keep, held, subject, world.part(subject).rows, floors)
        assert table.nulls[subject].seen_variance == pytest.approx(want, rel=1e-10)


def test_members_that_hold_no_subject_whole_give_a_null_all_the_same():
    """With groups every member lacks rows of nearly every subject."""
    world = gaussian(4, subjects=12, size=10, holdout=80)
    rows = world.values.signals["own"].rows
    group = np.arange(rows.shape[1]) % 5
    lacks = np.random.default_rng(0).integers(0, 5, len(rows))
    held = world.values.keep[:, np.repeat(np.arange(12), 10)] & (group[None] != lacks[:, None])
    table = NullTable(SplitValues(world.values.keep, world.values.positions, world.values.signals, held), "own")
    assert not any(held[:, rows].all(1).any() for rows in world.values.positions)
    assert np.isfinite(table.pooled).all() and 1 < table.critical < 4


def grouped_world(seed):
    """Subjects of ten rows, two of each of five groups; members that lack a group read 9 less on its rows."""
    world = gaussian(seed, members=40, subjects=12, size=10, holdout=80, gap=3.0)
    own = world.values.signals["own"]
    group = np.arange(120) % 5
    keep = np.hstack([world.values.keep, leave_out(40, np.full(5, 24), 0.15, seed + 1)])
    held = keep[:, np.repeat(np.arange(12), 10)] & keep[:, 12 + group]
    rows = own.rows - 9.0 * ~keep[:, 12 + group]
    positions = [*world.values.positions, *(np.flatnonzero(group == g) for g in range(5))]
    return world, SplitValues(keep, positions, {"own": SignalValues(rows, own.holdout)}, held), group


def test_who_lacks_a_rows_group_is_not_asked_about_it():
    """Every null score, recomputed member by member on the rows that it is asked about."""
    world, split, group = grouped_world(7)
    table, keep = NullTable(split, "own"), split.keep
    phi, outside = split.signals["own"].rows, split.signals["own"].holdout
    part = world.part(3)
    null, asked = table.nulls[3], ~keep[:, [3]] & keep[:, 12 + group[part.rows]]
    assert not asked[~keep[:, 3]].all() and (asked.sum(0) >= 3).all()
    never, seen = np.flatnonzero(asked.any(1)), keep[:, 3]
    held = split.rows_held(3, part.rows)
    for score_, member in zip(null.scores, never, strict=True):
        others = np.setdiff1d(never, [member])
        rest = np.flatnonzero(asked[member])
        rows = part.rows[rest]
        own = moments(
            phi[others][:, rows], phi[seen][:, rows], held[:, rest], table.spread_floor, asked[others][:, rest]
        )
        holdout = table.holdout_all
        apart = gap(own, holdout, outside[seen].mean(0), outside[others].mean(0), table.gap_floor)
        want = score(phi[member, rows], own, holdout.shift(outside[member], outside[others].mean(0)), apart)
        assert score_ == pytest.approx(want)
    # a model that never saw the subject and lacks no group reads nothing, although some members were 9 away
    traces = []
    for draw in range(40):
        reading, beyond = world.model(3, 0.0, np.random.default_rng(draw))
        traces.append(residual_trace(table, [part], [reading], [beyond]).trace)
    assert abs(np.mean(traces)) < 0.1


def test_floors_are_shares_of_the_median_spread_and_the_mean_gap():
    world = gaussian(5, subjects=12, size=7, holdout=80)
    table, phi = NullTable(world.values, "own"), world.values.signals["own"].rows
    spreads, gaps = [], []
    for subject in range(12):
        rows, saw = world.part(subject).rows, world.values.keep[:, subject]
        a, b = phi[saw][:, rows], phi[~saw][:, rows]
        spreads += list(np.sqrt((a.var(0) * len(a) + b.var(0) * len(b)) / (len(phi) - 2)))
        gaps += list(np.abs(a.mean(0) - b.mean(0)))
    assert table.spread_floor == pytest.approx(np.median(spreads) / 4)
    assert table.gap_floor == pytest.approx(np.mean(gaps) / 20)


@pytest.mark.parametrize("reason", ["left out of five", "seen by one", "no reading", "no rows", "no unit"])
def test_subjects_without_a_null(reason):
    world = gaussian(6, subjects=12, size=7, holdout=80)
    keep, rows, positions, units = world.values.keep.copy(), world.values.signals["own"].rows.copy(), None, None
    outside = world.values.signals["own"].holdout
    if reason == "left out of five":
        keep[np.flatnonzero(~keep[:, 2])[0], 2] = True
    elif reason == "seen by one":
        keep[np.flatnonzero(keep[:, 2])[1:], 2] = False
    elif reason == "no reading":
        rows[:, world.values.positions[2][3]] = np.nan
    elif reason == "no rows":
        positions = [own if subject != 2 else own[:0] for subject, own in enumerate(world.values.positions)]
    else:
        units = {subject: place for place, subject in enumerate(s for s in range(12) if s != 2)}
        outside = np.repeat(outside[:, None], 11, 1)
    split = SplitValues(keep, positions or world.values.positions, {"own": SignalValues(rows, outside, units)})
    table = NullTable(split, "own")
    assert 2 not in table and 3 in table and np.isfinite(table.pooled).all()


@pytest.mark.parametrize("where", ["rows", "holdout"])
def test_a_signal_by_which_no_two_members_differ(where):
    world = gaussian(6, subjects=12, size=7, holdout=80)
    rows, outside = (np.array(part) for part in (world.values.signals["own"].rows, world.values.signals["own"].holdout))
    (rows if where == "rows" else outside)[:] = 3.0
    table = NullTable(
        SplitValues(world.values.keep, world.values.positions, {"own": SignalValues(rows, outside)}), "own"
    )
    assert not table.nulls


def test_each_unit_is_held_against_its_own_holdout():
    """Another holdout of one unit changes that unit's scores and no other's."""
    world = gaussian(7, subjects=12, size=7, holdout=80)
    readings = world.values.signals["own"]
    outside = np.repeat(readings.holdout[:, None], 12, 1)
    units = {subject: subject for subject in range(12)}
    same = NullTable(
        SplitValues(world.values.keep, world.values.positions, {"own": SignalValues(readings.rows, outside, units)}),
        "own",
    )
    common = NullTable(world.values, "own")
    np.testing.assert_allclose(same.pooled, common.pooled, rtol=1e-12)
    outside = outside.copy()
    outside[:, 4] = np.random.default_rng(0).normal(5, 1, outside[:, 4].shape)
    other = NullTable(
        SplitValues(world.values.keep, world.values.positions, {"own": SignalValues(readings.rows, outside, units)}),
        "own",
    )
    for subject in range(12):
        close = np.allclose(other.nulls[subject].scores, common.nulls[subject].scores)
        assert close == (subject != 4)


def test_a_rest_of_a_subject_has_a_null_of_its_own():
    world = gaussian(8, subjects=12, size=10, holdout=80)
    table = NullTable(world.values, "own")
    rest = Part(3, world.values.positions[3][:6])
    (null,) = table.parts_null([rest])
    (again,) = table.parts_null([world.part(3)])
    assert again is table.nulls[3] and null is not again
    assert null.moments.never.shape == (6,) and not np.allclose(null.scores, again.scores)
