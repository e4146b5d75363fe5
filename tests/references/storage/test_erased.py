"""What a pool keeps of erased subjects: enough for the null distribution of those who stay, and no row."""

import numpy as np
import pytest

from neuralyzer.references.pool import References
from neuralyzer.references.storage.erased import SPLITS, add_erased_nulls, erased_nulls
from neuralyzer.trace.estimator import nulls_to_keep
from neuralyzer.trace.joint import joint_null
from neuralyzer.trace.null_table import NullTable
from neuralyzer.workspace import atomic
from tests.references import world
from tests.references.test_pool import BOTH, retained


def test_what_stays_of_erased_subjects_are_numbers_by_member(copied, oracle, kept):
    """Without them the null of those who stay would shrink; of the rows themselves nothing stays."""
    first = np.flatnonzero(world.SUBJECTS == "s00")
    assert (
        copied.pool_index.removed_subjects(oracle.data, first) == {0}
        and copied.pool_index.removed_subjects(oracle.data, first[:-1]) == set()
    )
    want = {which: NullTable(getattr(kept, which).values, "margin") for which in BOTH}
    copied.erase(first, "first", nulls_to_keep(copied, first, 0.05))
    middle = References.open(copied.store.root, retained(oracle, first))
    second = np.flatnonzero(middle.oracle.data.subjects == "s03")
    middle.erase(second, "second", nulls_to_keep(middle, second, 0.05))
    both = retained(oracle, np.flatnonzero((world.SUBJECTS == "s00") | (world.SUBJECTS == "s03")))
    last = References.open(copied.store.root, both)
    for which in BOTH:
        table = NullTable(getattr(last, which).values, "margin")
        assert 0 not in table and 3 not in table and set(table.all_nulls) == set(range(12))
        np.testing.assert_array_equal(table.all_nulls[0].scores, want[which].nulls[0].scores)
        assert table.sensitivity(0) == pytest.approx(want[which].sensitivity(0), rel=0.1)
        np.testing.assert_allclose(table.pooled.mean(), want[which].pooled.mean(), rtol=0.05)
        assert len(table.pooled) == 72 == len(joint_null({"margin": table}, ["margin"]))
        relearned = NullTable(getattr(last, which).values, "relearned")
        assert set(relearned.nulls) == {1, 2} and set(relearned.all_nulls) == {0, 1, 2}
    stored = atomic.read_json(copied.store.root / "remembered.json")
    for by_signal in stored.values():
        for by_subject in by_signal.values():
            for own in by_subject.values():
                assert set(own) == {"scores", "seen_variance", "norm", "unit"} and len(own["scores"]) == 6


def test_killed_while_erasing_what_stays_is_kept_as_it_was(copied, oracle):
    rows = np.flatnonzero(world.SUBJECTS == "s01")
    kept_of = nulls_to_keep(copied, rows, 0.05)
    add_erased_nulls(copied.store.root, kept_of)
    add_erased_nulls(
        copied.store.root, {which: {name: {} for name in kept_of[which]} for which in SPLITS}
    )  # the rows are gone by now
    copied.erase(rows, "case")
    assert erased_nulls(copied.store.root) == {which: dict(kept_of[which]) for which in SPLITS}
