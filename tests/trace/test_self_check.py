"""The self-check alarms about as often as it should where nothing is wrong, and more where something is."""

import numpy as np
import pytest

from neuralyzer.references.signal_values import SignalValues, SplitValues
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.self_check import (
    SelfCheck,
    _alarm_shares_by_member,
    alarm_quantile,
    binomial_quantile,
    holdout_groups,
    self_check,
)
from tests.trace.world import gaussian


def checked(split, groups, signals=("own",)):
    return self_check({signal: NullTable(split, signal) for signal in signals}, signals, groups, 0.05)


GROUPS = holdout_groups(600, 30, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_alarms_on_gaussian_references(seed):
    found = checked(gaussian(seed, holdout=600).values, GROUPS)
    assert found.groups == 10 * 30  # groups of 30 rows, and 30 of the 32 members in fives of six
    assert 0.005 <= found.alarms / found.groups <= 0.1


def test_alarms_of_several_signals_are_of_the_joint_test():
    """Ten such worlds alarm at .096 on average: a check on half of the holdout errs to the strict side."""
    found = [
        checked(gaussian(seed, holdout=600, signals=("a", "b", "c")).values, GROUPS, ("a", "b", "c")) for seed in (2, 5)
    ]
    assert all(one.groups == 300 for one in found)
    assert 0.005 <= sum(one.alarms for one in found) / 600 <= 0.1


def test_a_planted_shift_alarms():
    """Two members read the groups' rows three spreads too high, which no other holdout row shows."""
    world = gaussian(0, holdout=600)
    outside = world.values.signals["own"].holdout.copy()
    rows = np.concatenate(GROUPS)
    outside[np.ix_([1, 8], rows)] += 3 * world.outside_spread[rows]
    split = SplitValues(
        world.values.keep, world.values.positions, {"own": SignalValues(world.values.signals["own"].rows, outside)}
    )
    before, after = checked(world.values, GROUPS), checked(split, GROUPS)
    assert after.alarms - before.alarms >= 15  # of the 2 x 10 tests of these two


@pytest.mark.parametrize("spread_ratio", [1.0, 1.7])
def test_members_that_play_the_seen_ones_get_gap_and_spread_of_such_rows(monkeypatch, spread_ratio):
    """The gap, in spreads, that a line through the training rows' gaps gives for the never-seen mean; and their spread."""
    world = gaussian(0, subjects=12, size=7, holdout=80)
    rows, held = world.values.signals["own"].rows.copy(), world.values.rows_held_by
    mean = np.where(held, rows, 0).sum(0) / held.sum(0)
    rows = np.where(held, mean + spread_ratio * (rows - mean), rows)  # members lie apart on rows that they held
    world.values.signals["own"] = SignalValues(rows, world.values.signals["own"].holdout)
    ratios = [rows[held[:, n], n].std(ddof=1) / rows[~held[:, n], n].std(ddof=1) for n in range(rows.shape[1])]
    assert np.median(ratios) == pytest.approx(spread_ratio, rel=0.15)
    table, groups = NullTable(world.values, "own"), holdout_groups(80, 7, 0)
    played = []

    def noting(split, signal, level):
        played.append(split)
        return NullTable(split, signal, level)

    monkeypatch.setattr("neuralyzer.trace.self_check.NullTable", noting)
    self_check({"own": table}, ["own"], groups, 0.05)
    x = np.concatenate([null.moments.never / null.moments.spread for null in table.nulls.values()])
    nulls = [null.moments for null in table.nulls.values()]
    y = np.concatenate([(own.seen - own.never) / own.spread for own in nulls])
    slope, intercept = np.polyfit(x, y, 1)
    if spread_ratio == 1:
        assert intercept + slope * x.mean() == pytest.approx(1, abs=0.2)  # as the world was made
    phi, inside = world.values.signals["own"].holdout, np.concatenate(groups)
    assert len(played) == 5
    for number, split in enumerate(played):
        never = np.arange(6 * number, 6 * number + 6)
        saw = np.setdiff1d(np.arange(32), never)
        assert (~split.keep[never]).all() and split.keep[saw].all()
        own = split.signals["own"]
        # what plays subjects plays holdout no more
        assert np.array_equal(own.holdout, phi[:, np.setdiff1d(np.arange(80), inside)])
        lift = own.rows[:, inside] - phi[:, inside]
        spread = np.maximum(phi[:, inside].std(0, ddof=1), table.spread_floor)
        gap = intercept * spread + slope * phi[never][:, inside].mean(0)
        middle = phi[:, inside].mean(0)
        want = middle + np.median(ratios) * (phi[saw][:, inside] - middle) + gap
        np.testing.assert_allclose(own.rows[saw][:, inside], want, atol=1e-9)
        assert not lift[never].any()


def test_groups_are_half_of_the_holdout_cut_without_overlap():
    groups = holdout_groups(101, 8, 3)
    rows = np.concatenate(groups)
    assert [len(group) for group in groups] == [8] * 6 and len(np.unique(rows)) == 48 and rows.max() < 101
    assert all((again == group).all() for again, group in zip(holdout_groups(101, 8, 3), groups, strict=True))
    assert any((again != group).any() for again, group in zip(holdout_groups(101, 8, 4), groups, strict=True))


def test_nothing_to_check_with():
    world = gaussian(0, subjects=12, size=7, holdout=80)
    assert checked(world.values, []) == SelfCheck(0, 0)
    rows, outside = world.values.signals["own"].rows, world.values.signals["own"].holdout
    units = {subject: subject for subject in range(12)}
    split = SplitValues(
        world.values.keep,
        world.values.positions,
        {"own": SignalValues(rows, np.repeat(outside[:, None], 12, 1), units)},
    )
    assert checked(split, GROUPS) == SelfCheck(0, 0)


def test_members_alarms_are_those_on_the_subjects_that_each_never_saw():
    split = gaussian(3, subjects=12, size=7, holdout=80).values
    table = NullTable(split, "own")
    alarms = [np.random.default_rng(subject).random(len(table.nulls[subject].scores)) < 0.3 for subject in range(12)]
    shares = _alarm_shares_by_member({"own": table}, ["own"], alarms)
    for member in range(split.members):
        lacked = np.flatnonzero(~split.keep[member])
        own = [alarms[subject][list(np.flatnonzero(~split.keep[:, subject])).index(member)] for subject in lacked]
        assert shares[member] == pytest.approx(np.mean(own))


def test_one_odd_member_alarms_on_every_group_and_more_of_that_are_allowed():
    """One of sixteen members alarms on half of what it never saw: tests of one member do not come independently."""
    shares = [0.5, *[0.0] * 15]
    drawn = np.random.default_rng(0).binomial(12, 1 / 16, 100_000) * round(0.5 * 8)  # 12 members play, 8 groups each
    limit = alarm_quantile(shares, 12, 96, 0.05)
    assert limit == max(np.quantile(drawn, 0.99), binomial_quantile(96, 0.05))
    assert limit > alarm_quantile([np.mean(shares)] * 16, 8, 96, 0.05)
