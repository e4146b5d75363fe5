"""Manifests: which rows of a data set version belong to which subject, sorted so that a look-up reads little."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute

from neuralyzer.data import texts
from neuralyzer.data.near_names import folded
from neuralyzer.data.rows import Data
from neuralyzer.errors import StorageError, UnreadableError, UsageError, first_line
from neuralyzer.workspace import atomic, queries
from neuralyzer.workspace.paths import Workspace, as_workspace

ROW_GROUP = 20480  # the smallest group that DuckDB writes well: one subject's rows then cost one or two groups
THREADS = 2
SORTING = "512MB"  # of memory while a manifest is sorted; beyond, DuckDB sorts on the disk
SCHEMA = pa.schema(
    [
        ("row_id", pa.string()), ("subject", pa.string()), ("digest", pa.binary()), ("position", pa.uint32()),
        ("value", pa.binary()), ("near", pa.string()),
    ]
)  # fmt: skip

Manifest: TypeAlias = "Path | pa.Table"
"""A manifest's file, or the same columns in memory."""


@dataclass(frozen=True)
class DatasetVersion:
    """One version of a data set, by which a project trains or evaluates.

    Attributes:
        name: the data set's name, the same for all of its versions.
        digest: of ids, subjects and contents of all rows, in order.
        rows: number of rows.
        role: ``training``, ``holdout``, or a word of the user.
        numbered: whether the row ids were only counted, so that they mean nothing in another version.
        manifest: the manifest: its file, or a table where the version is not registered.
        data: the rows themselves, if they are at hand; near copies are searched for in such versions alone.
    """

    name: str
    digest: str
    rows: int
    role: str
    numbered: bool
    manifest: Manifest
    data: Data | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str:
        """Return the name and the start of the digest, which is the name of the version's folder."""
        return f"{self.name}-{self.digest[:12]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the version as plain values, without its path."""
        return {
            "name": self.name,
            "digest": self.digest,
            "rows": self.rows,
            "role": self.role,
            "numbered": self.numbered,
        }


def register_dataset(
    workspace: Workspace | Path | str, name: str, data: Data, role: str = "training"
) -> DatasetVersion:
    """Register which rows of ``data`` belong to whom; a version that is registered already is left as it is.

    Args:
        workspace: where it is registered.
        name: letters, digits, ``.``, ``_`` and ``-``; the same for all versions of one data set.
        data: the rows.
        role: ``training`` for rows that models learn from, ``holdout`` for those that no model sees.

    Returns:
        The version.

    Raises:
        UsageError: if the name cannot name a folder, or this version is registered in another role.
        StorageError: if the disk is full.
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise UsageError(f"data set name {name!r} may have only letters, digits, '.', '_' and '-'")
    folder = as_workspace(workspace).datasets / f"{name}-{data.digest[:12]}"
    facts = folder / "dataset.json"
    version = DatasetVersion(name, data.digest, len(data), role, data.numbered, folder / "manifest.parquet")
    if facts.exists():
        registered = _read(facts)
        if registered.role != role:
            raise UsageError(
                f"data set {version.label} is registered as {registered.role}, not {role}; give that role, "
                f"or another name"
            )
        return registered
    with connected(memory_limit=SORTING, temp_directory=str(folder / "sorting")) as connection:
        rows = pa.RecordBatchReader.from_batches(SCHEMA, _batches(data))
        write_manifest(connection.from_arrow(rows), folder / "manifest.parquet")
    atomic.write_json(facts, version.to_dict())  # last, since a folder without it does not count as a version
    return version


def datasets(workspace: Workspace | Path | str) -> list[DatasetVersion]:
    """Return all registered versions, by name and digest."""
    return [_read(facts) for facts in sorted(as_workspace(workspace).datasets.glob("*/dataset.json"))]


def unregistered(name: str, data: Data, role: str = "training") -> DatasetVersion:
    """Return given data as a version whose manifest is in memory."""
    return DatasetVersion(name, data.digest, len(data), role, data.numbered, table_of(data), data)


def table_of(data: Data) -> pa.Table:
    """Return a manifest's columns for all rows of ``data``, in the order of the data."""
    return pa.Table.from_batches(_batches(data), SCHEMA)


def _batches(data: Data) -> Iterator[pa.RecordBatch]:
    for part in texts.in_chunks(len(data)):
        positions = np.arange(part.start, part.stop, dtype=np.uint32)
        contents, values = data.row_digests[part].tolist(), data.value_digests[part].tolist()
        subjects = data.subjects[part].tolist()
        columns = [data.ids[part].tolist(), subjects, contents, positions, values, list(map(folded, subjects))]
        yield pa.record_batch([pa.array(c, kind) for c, kind in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


def write_manifest(rows: Any, path: Path) -> Path:
    """Write a manifest atomically.

    Args:
        rows: a DuckDB relation with the columns of ``SCHEMA``.
        path: the Parquet file.

    Returns:
        ``path``.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    ordered = rows.order("subject, row_id")
    try:
        return atomic.write_with(
            path, lambda part: ordered.write_parquet(str(part), compression="zstd", row_group_size=ROW_GROUP)
        )
    except duckdb.IOException as error:
        raise StorageError(f"cannot write {path}: {first_line(error)}; free space or choose another folder") from error


def connected(**config: str) -> AbstractContextManager[Any]:
    """Return a connection to DuckDB in memory."""
    return queries.connected(**({"threads": THREADS} | config))


def _read(facts: Path) -> DatasetVersion:
    try:
        return DatasetVersion(**atomic.read_json(facts), manifest=facts.parent / "manifest.parquet")
    except TypeError as error:
        raise UnreadableError(f"{facts} does not describe a data set ({error})") from error
