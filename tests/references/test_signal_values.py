"""Who saw and who held what."""

import numpy as np
import pytest
from pyarrow import parquet

from neuralyzer.references.measurement.evaluator import units_of
from neuralyzer.references.signal_values import SignalValues, SplitValues
from neuralyzer.references.storage.index import PoolIndex
from tests.references import world

KEEP = np.array([[True, False], [True, True], [False, True], [True, True]])


def test_who_held_rows():
    split = SplitValues(KEEP, [np.array([0, 1]), np.array([2])], {})
    assert split.members == 4 and split.share == 0.25
    assert split.rows_held(0, np.array([0, 1])).tolist() == [[True, True]] * 3
    held = np.array([[True, False, False], [False, True, True], [False, False, True], [True, True, True]])
    grouped = SplitValues(KEEP, split.positions, {}, held, share=0.4)
    assert grouped.rows_held(0, np.array([0, 1])).tolist() == [[True, False], [False, True], [True, True]]
    assert grouped.share == 0.4


def test_a_signal_by_unit():
    own = SignalValues(np.zeros((2, 4)), np.arange(12.0).reshape(2, 2, 3), {5: 1})
    assert own.reads(5) and not own.reads(4)
    assert own.holdout_of(5).tolist() == [[3, 4, 5], [9, 10, 11]]
    common = SignalValues(np.zeros((2, 4)), np.ones((2, 3)))
    assert common.reads(4) and common.holdout_of(4) is common.holdout


def test_units_have_eight_rows_or_more():
    assert list(units_of([np.arange(7), np.arange(8), np.arange(30)])) == [1, 2]


@pytest.mark.parametrize("groups", [(), ("class",)])
def test_the_index_of_rows(groups, tmp_path):
    rows, _ = world.data()
    tmp_path.joinpath("pool").mkdir()
    PoolIndex.of(rows, groups).write(tmp_path / "pool")
    pool_index = PoolIndex.read(tmp_path / "pool")
    assert pool_index.subjects == 12 + (3 if groups else 0) and pool_index.groups == bool(groups)
    for subject in range(12):
        assert (rows.subjects[pool_index.positions[subject]] == f"s{subject:02d}").all()
    assert sum(len(own) for own in pool_index.owned) == len(rows)
    for label in range(3 if groups else 0):
        assert (rows.y.numpy()[pool_index.positions[12 + label]] == label).all()
        assert (pool_index.positions[12 + label].size == (rows.y == label).sum()) and not len(
            pool_index.owned[12 + label]
        )
    keep = np.random.default_rng(0).random((5, pool_index.subjects)) < 0.5
    held = pool_index.held(keep)
    for member in range(5):
        for row in range(len(rows)):
            subject, label = int(rows.subjects[row][1:]), 12 + int(rows.y[row])
            assert held[member, row] == (keep[member, subject] and (not groups or keep[member, label]))


def test_rows_are_found_in_another_order():
    rows, _ = world.data()
    pool_index = PoolIndex.of(rows, ())
    order = np.random.default_rng(0).permutation(len(rows))
    assert (pool_index.places(rows.select(order)) == order).all()
    present = pool_index.present(pool_index.places(rows.select(order)))
    assert all((rows.subjects[order][own] == f"s{subject:02d}").all() for subject, own in enumerate(present))


def test_an_index_that_was_written_with_digests_as_text_is_read(tmp_path):
    rows, _ = world.data()
    PoolIndex.of(rows, ()).write(tmp_path)
    table = parquet.read_table(tmp_path / "rows.parquet")
    texts = [digest.hex() for digest in table["digest"].to_pylist()]
    ids = table["id"].to_pylist()
    texts[3] = ids[3] = ""  # as an erased row was left
    old = table.set_column(0, "id", [ids]).set_column(1, "digest", [texts])
    parquet.write_table(old, tmp_path / "rows.parquet")
    pool_index = PoolIndex.read(tmp_path)
    rest = np.delete(np.arange(len(rows)), 3)
    assert (pool_index.places(rows.select(rest)) == rest).all()
    pool_index.erase(np.array([5]), ["case"], tmp_path)
    again = PoolIndex.read(tmp_path)
    assert (np.flatnonzero(again.ids == "") == [3, 5]).all() and again.closed == ("case",)
    left = np.delete(np.arange(len(rows)), [3, 5])
    assert (again.places(rows.select(left)) == left).all()
