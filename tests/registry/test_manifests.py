"""Registered data sets and look-ups in their manifests, held against what the data itself says."""

import errno
import os

import numpy as np
import pyarrow.parquet
import pytest

from neuralyzer.data.rows import Data
from neuralyzer.errors import StorageError, UnreadableError, UsageError
from neuralyzer.registry import lookups, manifests
from neuralyzer.registry.manifests import datasets, register_dataset


def test_a_manifest_holds_each_row_sorted_by_subject(workspace, data):
    version = register_dataset(workspace, "customers", data)
    assert version.manifest.parent == workspace.datasets / f"customers-{data.digest[:12]}"
    assert sorted(entry.name for entry in version.manifest.parent.iterdir()) == ["dataset.json", "manifest.parquet"]
    rows = pyarrow.parquet.ParquetFile(version.manifest).read().to_pylist()
    assert [(row["subject"], row["row_id"]) for row in rows] == sorted(zip(data.subjects, data.ids, strict=True))
    for row in rows:
        assert data.ids[row["position"]] == row["row_id"]
        assert data.row_digests[row["position"]].tobytes() == row["digest"]


def test_a_manifest_is_cut_into_small_compressed_groups(workspace):
    many = Data.from_arrays(np.zeros((50_000, 1), np.float32), np.zeros(50_000, int))
    file = pyarrow.parquet.ParquetFile(register_dataset(workspace, "many", many).manifest)
    groups = [file.metadata.row_group(at) for at in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [20_480, 20_480, 9_040]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    assert groups[0].column(1).statistics.max < groups[1].column(1).statistics.max


def test_versions_are_listed_with_what_was_registered(workspace, data):
    assert datasets(workspace) == []
    second = register_dataset(workspace, "customers", data.select(range(5)))
    first = register_dataset(workspace, "customers", data)
    held = register_dataset(workspace, "a.b-c_d", Data.from_arrays([[1.0]], [0]), role="holdout")
    assert datasets(workspace) == [held, *sorted([first, second], key=lambda version: version.digest)]
    assert (first.rows, first.role, first.digest, first.numbered) == (10, "training", data.digest, False)
    assert held.role == "holdout" and held.numbered


def test_registering_again_changes_nothing(workspace, data):
    version = register_dataset(workspace, "customers", data)
    before = version.manifest.stat().st_mtime_ns, version.manifest.stat().st_ino
    assert register_dataset(workspace, "customers", data) == version
    assert (version.manifest.stat().st_mtime_ns, version.manifest.stat().st_ino) == before
    with pytest.raises(UsageError, match="registered as training, not holdout"):
        register_dataset(workspace, "customers", data, role="holdout")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "naïve"])
def test_names_that_cannot_name_a_folder(workspace, data, name):
    with pytest.raises(UsageError, match="may have only letters"):
        register_dataset(workspace, name, data)
    assert not workspace.root.exists()


def test_look_ups_agree_with_the_data(workspace, data):
    paths = [
        register_dataset(workspace, "customers", data).manifest,
        register_dataset(workspace, "customers", data.select([9, 2, 4])).manifest,
        manifests.table_of(data.select([3])),
    ]
    whole, part, memory = lookups.rows_of(paths, ["ann", "bob", "nobody"])
    assert whole["position"].to_pylist() == np.flatnonzero(np.isin(data.subjects, ["ann", "bob"])).tolist()
    assert part["row_id"].to_pylist() == ["r2", "r4"] and part["position"].to_pylist() == [1, 2]
    assert len(memory) == 0
    whole, part, memory = lookups.rows_by_id(paths, ["r3", "r9"])
    assert whole["subject"].to_pylist() == ["cy", "eve"]
    assert part["position"].to_pylist() == [0] and memory["row_id"].to_pylist() == ["r3"]


@pytest.mark.parametrize("name", ["o'neill", "x' OR '1'='1", "ann; DROP TABLE manifest", "%", "ünï ✓", ""])
def test_a_subject_is_a_value_never_sql(workspace, name):
    odd = Data.from_arrays([[1.0], [2.0]], [0, 1], subjects=["ann", name or None])
    (found,) = lookups.rows_of([register_dataset(workspace, "odd", odd).manifest], [name])
    assert found["row_id"].to_pylist() == (["1"] if name else [])


def test_duplicates_are_rows_of_equal_content_that_were_not_asked_for(workspace, data):
    x = np.concatenate([data.x[2:3], data.x[:1], data.x[3:4]])
    other = Data.from_arrays(x, [0, 0, 1], subjects=["zoe", "ann", "zoe"])
    paths = [register_dataset(workspace, name, rows).manifest for name, rows in (("one", data), ("two", other))]
    found = lookups.rows_of(paths, ["ann"])
    one, two = lookups.duplicates(paths, found)
    assert one["row_id"].to_pylist() == ["r9"]  # not r0, r2 and r5, which are ann's own
    assert two.select(["row_id", "subject"]).to_pylist() == [{"row_id": "0", "subject": "zoe"}]
    assert [len(rows) for rows in lookups.duplicates(paths, lookups.rows_of(paths, ["dee"]))] == [0, 0]


@pytest.mark.parametrize("harm", ["truncated", "missing", "other"])
def test_a_damaged_manifest_is_named(workspace, data, harm):
    path = register_dataset(workspace, "customers", data).manifest
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    elif harm == "missing":
        path.unlink()
    else:
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)
    with pytest.raises(UnreadableError, match=r"manifest\.parquet cannot be read .*register again"):
        lookups.rows_of([path], ["ann"])


def test_a_damaged_description_is_named(workspace, data):
    facts = register_dataset(workspace, "customers", data).manifest.with_name("dataset.json")
    facts.write_text('{"name": "customers"}')
    with pytest.raises(UnreadableError, match="does not describe a data set"):
        datasets(workspace)
    facts.write_text('{"name": ')
    with pytest.raises(UnreadableError, match="truncated"):
        datasets(workspace)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_registers_nothing(workspace, data, monkeypatch, nth):
    """Full while the manifest is written, or while its description is."""
    calls = []
    replace = os.replace

    def full(*paths):
        calls.append(paths)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(*paths)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        register_dataset(workspace, "customers", data)
    assert datasets(workspace) == [] and not list(workspace.root.rglob("*.part"))
    assert register_dataset(workspace, "customers", data) == datasets(workspace)[0]
