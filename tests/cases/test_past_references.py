"""References of a past case are copied, or made again where rows were erased from them."""

import shutil

import numpy as np
import pytest

from neuralyzer.cases.past_references import copied, holds, made_again
from neuralyzer.errors import ReferencesError
from neuralyzer.progress import Silent
from neuralyzer.references.pool import References
from neuralyzer.workspace.paths import Workspace


@pytest.fixture
def pool(claim_world, tmp_path):
    """A copy of references that kept their weights."""
    source = tmp_path / "old" / "references" / claim_world.references.store.root.name
    shutil.copytree(claim_world.references.store.root, source)
    return References.open(source, claim_world.oracle)


def again(pool, tmp_path, train=False):
    place = Workspace(tmp_path / "new")
    return made_again(pool.store.root, place, [pool.oracle], 0.05, train, None, Silent())


def test_a_whole_pool_is_copied_without_its_accesses(pool, tmp_path):
    pool.access_log.record(pool.oracle.lineage, ["c0"])
    assert holds(pool.store.root, pool.oracle)
    new = copied(pool.store.root, Workspace(tmp_path / "new"), pool.oracle)
    assert new.digest == pool.digest and new.access_log.count(pool.oracle.lineage, ["c0"]) == 0
    assert np.array_equal(new.evaluation.outputs, pool.evaluation.outputs)


def test_members_whose_weights_were_kept_are_measured_again(pool, claim_world, tmp_path):
    pool.erase(np.flatnonzero(claim_world.oracle.data.subjects == "c0"), "case-1")
    assert not holds(pool.store.root, pool.oracle)
    made, before = again(pool, tmp_path), claim_world.references
    assert made.digest == before.digest and not made.pool_index.closed
    for name, values in before.evaluation.values.signals.items():
        found = made.evaluation.values.signals[name]
        assert np.array_equal(found.rows, values.rows, equal_nan=True), name
        assert np.array_equal(found.holdout, values.holdout, equal_nan=True), name


def test_without_weights_they_are_trained_only_if_asked_for(pool, claim_world, tmp_path):
    pool.erase(np.flatnonzero(claim_world.oracle.data.subjects == "c0"), "case-1")
    pool.store.destroy_weights()
    with pytest.raises(ReferencesError, match="--train-references"):
        again(pool, tmp_path)


def test_references_that_judged_and_were_made_up_are_found(pool, claim_world, tmp_path):
    pool.erase(np.flatnonzero(claim_world.oracle.data.subjects == "c0"), "case-1")
    path = pool.store.root / "signals" / "outputs.rows.f32"
    values = np.memmap(path, dtype=np.float32, mode="r+")
    values[np.flatnonzero(~np.isnan(values))[:10]] += 0.5
    values.flush()
    with pytest.raises(ReferencesError, match="are not those that judged"):
        again(pool, tmp_path)
