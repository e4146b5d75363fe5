"""Designs are balanced, whatever the subjects' sizes."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import ReferencesError
from neuralyzer.references.design import leave_out, share_for

SIZES = st.lists(st.integers(1, 60), min_size=8, max_size=60).map(np.array)


@settings(deadline=None, max_examples=60)
@given(rows=SIZES, members=st.integers(8, 40), count=st.integers(6, 20), seed=st.integers(0, 99))
def test_every_subject_is_left_out_equally_often(rows, members, count, seed):
    count = min(count, members - 2)
    keep = leave_out(members, rows, count / members, seed)
    assert keep.shape == (members, len(rows)) and keep.dtype == bool
    assert ((~keep).sum(0) == count).all()
    assert (leave_out(members, rows, count / members, seed) == keep).all()
    lacking = (~keep) @ rows
    # nobody lacks more than the fair share by a subject of the largest kind
    assert np.ptp(lacking) <= rows.max() and lacking.mean() == pytest.approx(rows.sum() * count / members)


def test_members_lack_nearly_equally_many_rows():
    """Where the subjects are many: to one part in fifty as a rule, so that members can be stacked."""
    spread = []
    for seed in range(30):
        rows = np.random.default_rng(seed).integers(5, 80, 40)
        lacking = (~leave_out(32, rows, share_for(32), seed)) @ rows
        spread.append(np.ptp(lacking) / lacking.mean())
    assert np.median(spread) < 0.02 and max(spread) < 0.06


def test_another_seed_gives_another_design():
    rows = np.full(20, 10)
    assert (leave_out(16, rows, 0.4, 0) != leave_out(16, rows, 0.4, 1)).any()


def test_the_pairs_of_subjects_that_a_member_lacks_are_mixed():
    """No two subjects always go together, or a pool could not tell them apart."""
    keep = leave_out(32, np.full(30, 10), share_for(32), 0)
    together = (~keep).T.astype(int) @ (~keep).astype(int) - 6 * np.eye(30, dtype=int)
    assert together.max() <= 5 and np.mean(together == 0) < 0.6


@pytest.mark.parametrize(("members", "count"), [(8, 6), (16, 6), (32, 6), (64, 6), (128, 12)])
def test_the_share_left_out_by_default(members, count):
    assert round(share_for(members) * members) == count


@pytest.mark.parametrize(("members", "share"), [(16, 0.3), (7, 6 / 7), (6, 1.0), (16, 0.95)])
def test_designs_that_could_not_judge(members, share):
    with pytest.raises(ReferencesError, match=r"it takes 6 to \d+: use more references"):
        leave_out(members, np.full(10, 5), share, 0)


@pytest.mark.parametrize("owners", [["a"] * 230 + ["b"] * 20, ["a", "b", "c"] * 83 + ["c"]])
def test_a_member_must_hold_something(tmp_path, owners):
    """Told before anything is timed or trained."""
    x, y = np.random.default_rng(0).normal(size=(500, 4)), np.arange(500) % 2
    data, holdout = nz.Data.from_arrays(x[:250], y[:250], owners), nz.Data.from_arrays(x[250:], y[250:])
    oracle = nz.TrainedModel.fit(nz.Recipe(lambda: nn.Linear(4, 2), epochs=1), data, holdout)
    with pytest.raises(ReferencesError, match=f"with {len(set(owners))} subjects some reference would hold no row"):
        nz.References.fit(oracle, 16, leave_out=0.75, workspace=tmp_path)


def test_members_that_join_others_need_not_leave_each_subject_out_six_times():
    assert ((~leave_out(8, np.full(10, 5), 0.25, 0, fewest=1)).sum(0) == 2).all()
