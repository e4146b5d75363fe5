"""Tables besides training rows and holdout that are searched for a subject; and tables that name a key's owner."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from neuralyzer.data import texts
from neuralyzer.data.layout import Layout
from neuralyzer.data.near_names import folded
from neuralyzer.data.sources import read_or_refuse
from neuralyzer.data.text_files import CsvFormat, JsonFormat
from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.registry.manifests import SCHEMA, DatasetVersion
from neuralyzer.workspace import digests

ROLE = "also"  # of a table that is only searched


def columns(path: Path, names: list[str], separator: str = ",", encoding: str = "utf-8") -> pa.Table:
    """Read some columns of a file, as text where the file is text.

    Args:
        path: of a Parquet, CSV or JSON Lines file.
        names: of the columns.
        separator: of a CSV file.
        encoding: of a CSV file.

    Returns:
        A table of those columns.

    Raises:
        UsageError: if a column is missing.
        UnreadableError: if the file is missing, damaged or of an unknown kind.
    """
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv", ".jsonl", ".json"):
        raise UnreadableError(f"{path} is none of .parquet, .csv, .jsonl, .json")
    if kind == ".parquet":
        existing = read_or_refuse(path, parquet.read_schema).names
    else:
        form = CsvFormat(names, separator, encoding) if kind == ".csv" else JsonFormat(names)
        read_or_refuse(path, form.check)
        read: pa.Table = read_or_refuse(path, form.read)
        existing = read.column_names
    missing = [name for name in names if name not in existing]
    if missing:
        raise UsageError(f"{path} has no column {missing[0]!r}; it has {', '.join(existing)}")
    if kind == ".parquet":
        read = read_or_refuse(path, partial(parquet.read_table, columns=names))
    return read.select(names)


def table(
    path: Path, subject: str, id: str | None = None, name: str | None = None, key: Any = None, **reading: str
) -> DatasetVersion:
    """Return a table as a version of a data set that is only searched.

    Args:
        path: of the file.
        subject: its column of subjects.
        id: its column of row ids; without it rows are counted.
        name: of the table; by default the file's name.
        key: the ``subject_key`` by which the training rows are read.
        reading: ``separator`` and ``encoding`` of a CSV file.

    Returns:
        The version, whose manifest is in memory; it is not searched for rows of equal content.
    """
    wanted = [column for column in (subject, id) if column is not None]
    content = columns(path, list(dict.fromkeys(wanted)), **reading)
    layout = Layout(target="", subject=subject, subject_key=key)
    names = layout.keyed(texts.of_column(content[subject], f"{path}: {subject!r}"))
    ids = np.arange(len(names)).astype(texts.TEXT)
    if id is not None:
        ids = texts.as_texts(texts.of_column(content[id], f"{path}: {id!r}"), f"{path}: {id!r}")
    unnamed = names == ""
    names[unnamed] = np.strings.add("row:", ids[unnamed])
    empty = pa.nulls(len(names), pa.binary())
    rows = pa.table(
        {
            "row_id": texts.to_arrow(ids), "subject": texts.to_arrow(names), "digest": empty,
            "position": pa.array(np.arange(len(names)), pa.uint32()), "value": empty,
            "near": pa.array(list(map(folded, names.tolist())), pa.string()),
        },
        schema=SCHEMA,
    )  # fmt: skip
    return DatasetVersion(name or path.stem, digests.of_file(path), len(names), ROLE, id is None, rows)


@dataclass(frozen=True)
class SubjectTable:
    """A table that names the owner of a key; a ``subject_key`` for the column that holds the key.

    Attributes:
        path: of the table.
        subjects: by key.
    """

    path: Path
    subjects: dict[str, str]

    @classmethod
    def read(cls, path: Path, key: str, subject: str, **reading: str) -> "SubjectTable":
        """Read the table.

        Args:
            path: of the file.
            key: its column of keys.
            subject: its column of subjects.
            reading: ``separator`` and ``encoding`` of a CSV file.

        Returns:
            The table.

        Raises:
            UsageError: if a key belongs to two subjects.
        """
        content = columns(path, list(dict.fromkeys([key, subject])), **reading)
        keys, names = (texts.of_column(content[column], f"{path}: {column!r}").tolist() for column in (key, subject))
        known: dict[str, str] = {}
        for value, name in zip(keys, names, strict=True):
            if value and known.setdefault(value, name) != name:
                raise UsageError(f"{path}: {key} {value!r} belongs to two subjects; a row has one")
        return cls(path, known)

    def __call__(self, key: str) -> str:
        """Return the subject that a key belongs to; empty where none is known."""
        return self.subjects.get(key, "")
