"""Manifests: which rows of which data set version belong to which subject, sorted so that a look-up reads little."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
from pyarrow import parquet

from neuralyzer.data import texts
from neuralyzer.data.near_names import folded
from neuralyzer.data.rows import Data
from neuralyzer.errors import StorageError, UnreadableError, UsageError
from neuralyzer.workspace import atomic
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
    """One version of a data set that a project trains or judges with.

    Attributes:
        name: the data set's name, the same for all of its versions.
        digest: of ids, subjects and contents of all rows, in order.
        rows: how many.
        role: ``training``, ``holdout``, or the person's own word.
        numbered: whether the row ids were only counted, so that they mean nothing in another version.
        manifest: the manifest: its file, or a table where the version is not registered.
    """

    name: str
    digest: str
    rows: int
    role: str
    numbered: bool
    manifest: Manifest

    @property
    def label(self) -> str:
        """Name and the start of the digest: the version's folder."""
        return f"{self.name}-{self.digest[:12]}"

    def to_dict(self) -> dict[str, Any]:
        """The version as plain values, without its place on the disk."""
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
    """Write down which rows of ``data`` belong to whom; a version already registered is left as it is.

    Args:
        workspace: where.
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
    with _connected(memory_limit=SORTING, temp_directory=str(folder / "sorting")) as connection:
        rows = pa.RecordBatchReader.from_batches(SCHEMA, _batches(data))
        write_manifest(connection.from_arrow(rows), folder / "manifest.parquet")
    atomic.write_json(facts, version.to_dict())  # last: a folder without it is no version
    return version


def datasets(workspace: Workspace | Path | str) -> list[DatasetVersion]:
    """All registered versions, by name and digest."""
    return [_read(facts) for facts in sorted(as_workspace(workspace).datasets.glob("*/dataset.json"))]


def unregistered(name: str, data: Data, role: str = "training") -> DatasetVersion:
    """Data at hand as a version whose manifest lies in memory."""
    return DatasetVersion(name, data.digest, len(data), role, data.numbered, table_of(data))


def table_of(data: Data) -> pa.Table:
    """A manifest's columns for all rows of ``data``, in the order of the data."""
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
        raise StorageError(f"cannot write {path}: {_first_line(error)}; free space or choose another folder") from error


def rows_of(manifests: Sequence[Manifest], subjects: Sequence[str]) -> list[pa.Table]:
    """The rows of some subjects.

    Args:
        manifests: where to look.
        subjects: whose rows.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    return _matching(manifests, "subject", pa.array(subjects, pa.string()))


def rows_by_id(manifests: Sequence[Manifest], ids: Sequence[str]) -> list[pa.Table]:
    """The rows with some ids.

    Args:
        manifests: where to look.
        ids: which rows.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    return _matching(manifests, "row_id", pa.array(ids, pa.string()))


def duplicates(manifests: Sequence[Manifest], found: Sequence[pa.Table]) -> list[pa.Table]:
    """Rows that have the values of rows found, under another id or another subject.

    Args:
        manifests: where to look.
        found: for each manifest the rows that were asked for; they are no duplicates of themselves.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    values = pa.concat_tables(found).select(["value"]) if found else SCHEMA.empty_table()
    same = _matching(manifests, "value", values["value"].unique())
    return [
        table.filter(pa.compute.invert(pa.compute.is_in(table["position"], value_set=own["position"].combine_chunks())))
        for table, own in zip(same, found, strict=True)
    ]


def near(manifests: Sequence[Manifest], subjects: Sequence[str]) -> list[pa.Table]:
    """The rows of other subjects whose names differ from some only in spelling (``near_names.folded``).

    Args:
        manifests: where to look.
        subjects: names that were asked for.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    asked = pa.array(subjects, pa.string())
    found = _matching(manifests, "near", pa.array(sorted({folded(name) for name in subjects}), pa.string()))
    return [rows.filter(pa.compute.invert(pa.compute.is_in(rows["subject"], value_set=asked))) for rows in found]


def subjects_of(manifest: Manifest) -> np.ndarray:
    """Whose rows a manifest lists.

    Args:
        manifest: where to look.

    Returns:
        Names ``(N,)`` as text.

    Raises:
        UnreadableError: if the manifest is missing or truncated.
    """
    if isinstance(manifest, pa.Table):
        return texts.of_column(manifest["subject"])
    try:
        return texts.of_column(parquet.read_table(manifest, columns=["subject"])["subject"])
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError(f"{manifest} cannot be read ({_first_line(error)})") from error


def compared(manifest: Manifest, data: Data, query: str) -> tuple[int, ...]:
    """Compare a manifest with rows.

    Args:
        manifest: of some rows; the table ``was`` of the query.
        data: other rows; the table ``is_now`` of the query.
        query: gives one row of numbers.

    Returns:
        Those numbers.

    Raises:
        UnreadableError: if the manifest is missing or truncated.
    """
    with _connected() as connection:
        try:
            views = [_relation(connection, manifest), connection.from_arrow(table_of(data))]
            for view, name in zip(views, ("was", "is_now"), strict=True):
                view.create_view(name)  # which lasts as long as what it shows
            return tuple(int(number) for number in connection.sql(query).fetchall()[0])
        except duckdb.Error as error:
            raise UnreadableError(
                f"{manifest} cannot be read ({_first_line(error)}); remove its folder and register again"
            ) from error


def _matching(manifests: Sequence[Manifest], column: str, wanted: Any) -> list[pa.Table]:
    if not len(wanted):  # a scan for nothing would still read every row
        return [SCHEMA.empty_table() for _ in manifests]
    found = []
    with _connected() as connection:
        connection.register("wanted", pa.table({"sought": wanted}))
        for manifest in manifests:
            try:
                rows = _relation(connection, manifest)
                rows.create_view("manifest", replace=True)
                table = connection.sql(
                    f"SELECT {', '.join(SCHEMA.names)} FROM manifest SEMI JOIN wanted ON {column} = sought "
                    "ORDER BY position"
                ).to_arrow_table()
            except duckdb.Error as error:
                raise UnreadableError(
                    f"{manifest} cannot be read ({_first_line(error)}); remove its folder and register again"
                ) from error
            found.append(table.cast(SCHEMA))
    return found


def _relation(connection: Any, manifest: Manifest) -> Any:
    if isinstance(manifest, pa.Table):
        return connection.from_arrow(manifest)
    rows = connection.read_parquet(str(manifest))
    # Early manifests lack two columns. A row in float32 with a whole label has one digest for content and values.
    missing = {"value": "digest", "near": "subject"}.items()
    return rows.project(", ".join(["*", *(f"{old} AS {new}" for new, old in missing if new not in rows.columns)]))


@contextmanager
def _connected(**config: str) -> Iterator[Any]:
    with duckdb.connect(config={"threads": THREADS} | config) as connection:
        yield connection


def _read(facts: Path) -> DatasetVersion:
    try:
        return DatasetVersion(**atomic.read_json(facts), manifest=facts.parent / "manifest.parquet")
    except TypeError as error:
        raise UnreadableError(f"{facts} does not describe a data set ({error})") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
