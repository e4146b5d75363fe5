"""Requests of many subjects: scores by hand, no bias over hundreds of rows, and a null of the request's size."""

import numpy as np
import pytest

from neuralyzer.references.signal_values import Part
from neuralyzer.trace.group import FOLDS, GroupTable, draws, rows_left_out, spread
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import residual_trace
from tests.trace.world import gaussian


@pytest.fixture(scope="module")
def people():
    """600 people of one row each, whose gap is .8 of a spread."""
    world = gaussian(4, subjects=600, size=1, gap=0.8)
    return world, GroupTable(world.values, NullTable(world.values, "own"))


def group_model(world, parts, trace, generator):
    """Readings on every part of one model, and on the holdout."""
    rows = np.concatenate([part.rows for part in parts])
    own = world.level[rows] + trace * world.gap[rows] + world.spread[rows] * generator.normal(size=len(rows))
    outside = world.outside_level + world.outside_spread * generator.normal(size=len(world.outside_level))
    return [np.array([value]) for value in own], [outside] * len(parts)


def drawn(world, count, generator):
    return [Part(int(s), world.values.positions[s]) for s in np.sort(generator.permutation(600)[:count])]


def read(table, world, parts, trace, generator):
    return table.of_model(parts, *group_model(world, parts, trace, generator)).total()


def test_a_score_by_hand(people):
    """One row, fold by fold, with loops."""
    world, table = people
    row = 17
    part, generator = Part(row, world.values.positions[row]), np.random.default_rng(0)
    rows, outside = group_model(world, [part], 0.5, generator)
    (shift,) = table.shifts([part], outside)
    reading = rows[0][0] - shift.c0 * table.spread[row] - shift.c1 * table.mean[row]
    saw = np.flatnonzero(world.values.keep[:, row])
    never = np.flatnonzero(~world.values.keep[:, row])
    score = unit = noise = total = 0.0
    for fold in range(FOLDS):
        inside = [[m for place, m in enumerate(kind, 1) if place % FOLDS == fold] for kind in (never, saw)]
        rest = [[m for place, m in enumerate(kind, 1) if place % FOLDS != fold] for kind in (never, saw)]
        gap = table.cleared[rest[1], row].mean() - table.cleared[rest[0], row].mean()
        weight = max(gap, table.table.gap_floor) / table.spread[row] ** 2
        expected, seen = table.cleared[inside[0], row].mean(), table.cleared[inside[1], row].mean()
        score += weight * (reading - expected)
        unit += weight * (seen - expected)
        noise += weight**2 / len(inside[0])
        total += weight
    sums = table.of_model([part], rows, outside)
    assert sums.score[0] == pytest.approx(score) and sums.unit[0] == pytest.approx(unit)
    assert sums.noise[0] == pytest.approx(table.spread[row] ** 2 * (noise + (total * shift.noise) ** 2))


def test_a_member_is_scored_without_itself(people):
    world, table = people
    member, subject = 3, int(np.flatnonzero(~world.values.keep[3])[0])
    never = np.flatnonzero(~world.values.keep[:, subject])
    saw = np.flatnonzero(world.values.keep[:, subject])
    phi = world.values.signals["own"].rows[:, subject]
    rest = [m for m in never if m != member]
    squares = sum(((phi[kind] - phi[kind].mean()) ** 2).sum() for kind in (rest, saw))
    variance = squares / (len(rest) + len(saw) - 2)
    score = 0.0
    for fold in range(FOLDS):
        mine = [m for place, m in enumerate(never, 1) if place % FOLDS == fold and m != member]
        others = [m for place, m in enumerate(never, 1) if place % FOLDS != fold and m != member]
        seen = [m for place, m in enumerate(saw, 1) if place % FOLDS != fold]
        gap = table.cleared[seen, subject].mean() - table.cleared[others, subject].mean()
        weight = max(gap, table.table.gap_floor) / variance
        score += weight * (table.cleared[member, subject] - table.cleared[mine, subject].mean())
    assert table.of_members.score[member, subject] == pytest.approx(score)


@pytest.mark.parametrize("count", [30, 100])
def test_a_group_has_no_bias_and_its_null_is_true(people, count):
    """400 models: those that never saw the group read 0, those that did read 1, and 5 % of the former are rejected."""
    world, table = people
    generator, found = np.random.default_rng(1), {0.0: [], 1.0: []}
    every = tuple(range(600))
    own = spread(table, draws(world.values, every, count, False), draws(world.values, every, count, True))
    for _ in range(200):
        parts = drawn(world, count, generator)
        for trace, scores in found.items():
            sums = read(table, world, parts, trace, generator)
            scores.append(
                (sums.score / sums.unit, sums.standardised / own.sd, (sums.score - sums.unit) / np.sqrt(sums.noise))
            )
    never, saw = (np.array(found[trace]) for trace in (0.0, 1.0))
    error = never[:, 0].std() / np.sqrt(200)
    assert abs(never[:, 0].mean()) < 3 * error
    assert saw[:, 0].mean() == pytest.approx(1, abs=0.1)  # the unit rests on this half's 32 members
    assert never[:, 1].std() == pytest.approx(1, abs=0.15)
    assert saw[:, 2].std() == pytest.approx(own.seen, rel=0.25)
    assert np.mean(np.abs(never[:, 1]) > np.quantile(np.abs(own.null / own.sd), 0.95)) <= 0.09


def test_subjects_one_by_one_are_biased_and_that_is_why(people):
    """The same models by the sum of single people's traces: above 0 by more than chance."""
    world, table = people
    generator, alone, together = np.random.default_rng(2), [], []
    for _ in range(20):
        parts = drawn(world, 100, generator)
        rows, outside = group_model(world, parts, 0.0, generator)
        alone.append(residual_trace(table.table, parts, rows, outside).trace)
        sums = table.of_model(parts, rows, outside).total()
        together.append(sums.score / sums.unit)
    assert np.mean(alone) > 4 * np.std(alone) / np.sqrt(20)
    assert abs(np.mean(together)) < 3 * np.std(together) / np.sqrt(20)


@pytest.mark.parametrize("seen", [False, True])
def test_groups_are_drawn_from_what_a_member_never_saw_or_from_what_it_held(people, seen):
    world, _ = people
    found = draws(world.values, tuple(range(600)), 40, seen)
    assert len(found.subjects) == 32 * 32
    for member, subjects in zip(found.member, found.subjects, strict=True):
        assert (world.values.keep[member, subjects] == seen).all()
        assert len(subjects) == len(set(subjects.tolist())) == 40


def test_groups_have_as_many_rows_as_are_asked_for():
    world = gaussian(0, subjects=40, size=7)
    found = draws(world.values, tuple(range(40)), 30, False)
    assert {len(own) for own in found.subjects} == {5}, "5 subjects of 7 rows are the fewest with 30 rows"
    least = (~world.values.keep).sum(1).min()
    assert rows_left_out(world.values, tuple(range(40))) == 7 * least
