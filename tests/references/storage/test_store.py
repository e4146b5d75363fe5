"""The pool's arrays on the disk."""

import errno
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from neuralyzer.errors import ReferencesError, StorageError
from neuralyzer.references.storage.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "pool")


def test_an_array_keeps_its_members_when_it_grows(store):
    first = store.array("margin.rows", (2, 3), write=True)
    first[:] = [[1, 2, 3], [4, 5, 6]]
    first.flush()
    grown = store.array("margin.rows", (4, 3), write=True)
    grown[3] = 9
    grown.flush()
    got = store.array("margin.rows", (4, 3))
    assert got.tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0], [9, 9, 9]] and got.dtype == np.float32
    assert store.array("margin.rows", (2, 3)).tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1


def test_an_array_that_is_missing_or_too_short(store):
    with pytest.raises(ReferencesError, match="missing or truncated"):
        store.array("margin.rows", (2, 3))
    store.array("margin.rows", (2, 3), write=True)
    with pytest.raises(ReferencesError, match="missing or truncated"):
        store.array("margin.rows", (2, 4))


def test_an_array_without_units(store):
    assert store.array("relearned.holdout", (2, 0, 5), write=True).shape == (2, 0, 5)
    assert store.array("relearned.holdout", (2, 0, 5)).shape == (2, 0, 5)


def test_a_full_disk(store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(StorageError, match=r"needs 24 bytes and 10 are free \(ENOSPC\)"):
        store.array("margin.rows", (2, 3), write=True)
    assert not list(store.root.rglob("*.f32"))


def test_a_folder_without_a_pool(store):
    with pytest.raises(ReferencesError, match="holds no references; make them with 'neuralyzer references'"):
        store.read_head()


def test_weights_are_destroyed(store):
    for member in (0, 1):
        store.weights(member).parent.mkdir(parents=True, exist_ok=True)
        store.weights(member).write_bytes(b"weights")
    assert store.destroy_weights() == 2 and not list(store.root.rglob("*.safetensors"))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the file system is not asked for blocks")
def test_a_disk_that_fills_up_meanwhile(store, monkeypatch):
    """Blocks are there before a page is written: a sparse file on a full disk ends in a kill."""
    first = store.array("margin.rows", (2, 3), write=True)
    first[:] = 7
    first.flush()

    def full(handle, start, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageError, match="cannot grow by 24 bytes: No space left on device; free space and run"):
            store.array("margin.rows", (4, 3), write=True)
    assert (store.array("margin.rows", (2, 3)) == 7).all()
    assert store.array("margin.rows", (4, 3), write=True).shape == (4, 3)
