"""Rows from files, tables and Hugging Face data sets: small files at once, large ones in batches."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from neuralyzer.data import texts
from neuralyzer.data.columns import Columns, FileColumns, HubColumns, ParquetColumns, TableColumns, TextColumns
from neuralyzer.data.holding import ArrayRows, MappedRows, Rows, Spool, TableRows
from neuralyzer.data.layout import Layout
from neuralyzer.data.paraphrases import Paraphrases
from neuralyzer.data.targets import Targets
from neuralyzer.data.text_files import CsvFormat, JsonFormat
from neuralyzer.errors import UnreadableError, UsageError, first_line

LARGEST_IN_MEMORY = 256 << 20  # bytes of a file's values; larger files are read in batches


@dataclass(frozen=True, eq=False)
class Parts:
    """What ``Data`` is made of.

    Attributes:
        rows: features and targets of ``N`` rows.
        subjects: of each row, ``(N,)``; None where no column has them.
        ids: of each row, ``(N,)``; None where no column has them.
        classes: names of the classes where targets were text, else None.
        columns: that a predicate may name.
        paraphrases: of the rows' prompts; None where no file has them.
    """

    rows: Rows
    subjects: np.ndarray | None
    ids: np.ndarray | None
    classes: tuple[str, ...] | None
    columns: Columns
    paraphrases: Paraphrases | None = None


def from_parquet(path: Path, **columns: Any) -> Parts:
    """Read rows from a Parquet file; the features of a large one go to a memory-mapped temporary file.

    Args:
        path: of the file.
        columns: arguments of ``Layout``.

    Returns:
        The rows.

    Raises:
        UsageError: if a column is missing, or features are not numbers and there is no ``transform``.
        UnreadableError: if the file is missing or damaged.
        DataChangedError: if it changes while it is read.
        StorageError: if the temporary file finds no space.
    """
    return _from_columns(parquet_columns(path), path, columns)


def from_csv(path: Path, separator: str = ",", encoding: str = "utf-8", **columns: Any) -> Parts:
    """Read rows from a CSV file with a header; ids and subjects are text, as they are written.

    Args:
        path: of the file.
        separator: between two cells.
        encoding: of the file, by its name in Python.
        columns: arguments of ``Layout``.

    Returns:
        The rows; the features of a large file go to a temporary one.

    Raises:
        UsageError: as ``from_parquet``, or if separator or encoding is unknown.
        UnreadableError: if the file is missing, damaged or of another encoding.
        DataChangedError: if it changes while it is read.
        StorageError: if the temporary file finds no space.
    """
    return _from_text(path, CsvFormat(_names(columns), separator, encoding), columns)


def from_jsonl(path: Path, **columns: Any) -> Parts:
    """Read rows from a JSON Lines file; arguments, errors and the reading of ids are those of ``from_csv``."""
    return _from_text(path, JsonFormat(_names(columns)), columns)


def _names(columns: dict[str, Any]) -> Sequence[str]:
    return [columns[key] for key in ("subject", "id") if columns.get(key) is not None]


def parquet_columns(path: Path) -> TableColumns | FileColumns:
    """Return the columns of a Parquet file; those of a large one are read in batches."""
    facts = read_or_refuse(path, parquet.read_metadata)
    content = sum(facts.row_group(at).total_byte_size for at in range(facts.num_row_groups))
    if max(content, 8 * facts.num_rows * facts.num_columns) <= LARGEST_IN_MEMORY:
        return TableColumns(read_or_refuse(path, parquet.read_table))
    return ParquetColumns(path)


def text_columns(path: Path, form: CsvFormat | JsonFormat) -> TableColumns | FileColumns:
    """Return the columns of a text file; those of a large one are read in batches."""
    read_or_refuse(path, form.check)
    if read_or_refuse(path, os.path.getsize) <= LARGEST_IN_MEMORY:
        return TableColumns(read_or_refuse(path, form.read))
    return TextColumns(path, form.opened)


def _from_text(path: Path, form: CsvFormat | JsonFormat, columns: dict[str, Any]) -> Parts:
    return _from_columns(text_columns(path, form), path, columns)


def _from_columns(source: TableColumns | FileColumns, path: Path, columns: dict[str, Any]) -> Parts:
    if isinstance(source, TableColumns):
        return from_table(source.table, str(path), **columns)
    return _spooled(source, **columns)


def _spooled(source: FileColumns, **columns: Any) -> Parts:
    """Return rows whose features are written to a temporary file batch by batch."""
    spool, layout = Spool(), Layout(**columns)

    def keep(table: pa.Table, what: str) -> None:
        features = layout.features_of(table, what)
        if isinstance(features, dict):
            raise UsageError(f"{what}: inputs by name, such as tokens, are held in memory, and this file is too large")
        spool.append(features.numpy(), what)

    return _parts(source, layout, str(source.path), keep, lambda y: MappedRows(spool, y, source.unchanged))


def from_table(table: pa.Table, name: str = "the table", **columns: Any) -> Parts:
    """Return rows from an Arrow table.

    Args:
        table: ``N`` rows.
        name: of the table in an error.
        columns: arguments of ``Layout``.

    Returns:
        The rows.

    Raises:
        UsageError: if a column is missing, or features are not numbers and there is no ``transform``.
    """
    layout, features = Layout(**columns), []

    def keep(batch: pa.Table, what: str) -> None:
        features.append(layout.features_of(batch, what))

    return _parts(TableColumns(table), layout, name, keep, lambda y: ArrayRows(features[0], y))


def from_hub(dataset: Any, **columns: Any) -> Parts:
    """Return rows from a ``datasets.Dataset``, whose features are read from the disk when needed.

    Args:
        dataset: ``N`` rows with named columns.
        columns: arguments of ``Layout``; the class names of a target that is a ``ClassLabel`` are taken from it.

    Returns:
        The rows.

    Raises:
        UsageError: if a column is missing, features are not numbers and there is no ``transform``, or the data set
            is a stream or one of several splits.
    """
    if not hasattr(dataset, "__len__") or isinstance(dataset, dict):
        raise UsageError(
            f"a {type(dataset).__name__} has no rows by position; give one split of a datasets.Dataset, not a stream"
        )
    name = "the data set"
    if "target" not in columns:
        raise UsageError(f"{name} has columns {', '.join(dataset.column_names)}; name the target's with target=")
    if columns.get("classes") is None and columns["target"] in dataset.column_names:
        columns["classes"] = getattr(dataset.features[columns["target"]], "names", None)
    source, layout = HubColumns(dataset), Layout(**columns)
    wanted = None if layout.transform is not None else layout.features_among(source.names)
    table, features = source.arrow(wanted), partial(layout.features_of, what=name)
    return _parts(source, layout, name, None, lambda y: TableRows(table, features, y))


def _parts(
    source: Columns,
    layout: Layout,
    name: str,
    keep: Callable[[pa.Table, str], None] | None,
    rows: Callable[[Any], Rows],
) -> Parts:
    """Read the columns once; call ``keep`` with each batch's features and ``rows`` with all targets."""
    layout.check(source.names, name)
    targets, ids, subjects = Targets(layout), [], []
    count, wanted = 0, layout.known
    if keep is not None:
        wanted = [*wanted, *layout.features_among(source.names)]
    every = keep is not None and layout.transform is not None
    for table in source.batches(None if every else list(dict.fromkeys(wanted))):
        what = f"{name}, from row {count:,} on" if count else name
        if layout.id is not None:
            called = f"{what}: {layout.id!r}"
            ids.append(texts.as_texts(texts.of_column(table[layout.id], called), called))
        if layout.subject is not None:
            subjects.append(layout.keyed(texts.of_column(table[layout.subject], f"{what}: {layout.subject!r}")))
        if len(table):
            targets.read(table, what)
            if keep is not None:
                keep(table, what)
        count += len(table)
    if not count:
        raise UsageError(f"{name} has no rows")
    y, classes = targets.all()
    return Parts(
        rows(y),
        np.concatenate(subjects) if subjects else None,
        np.concatenate(ids) if ids else None,
        classes,
        source,
    )


def read_or_refuse(path: Path, read: Callable[[Path], Any]) -> Any:
    """Return what ``read`` returns for a file; refuse a file that it cannot read.

    Args:
        path: of the file.
        read: a reader of Arrow, or one that raises the same errors.

    Returns:
        The result of ``read``.

    Raises:
        UnreadableError: if the file is missing or damaged.
    """
    try:
        return read(path)
    except FileNotFoundError:
        raise UnreadableError(f"{path} does not exist") from None
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError(
            f"{path} cannot be read ({first_line(error)}); it may be truncated or of another kind"
        ) from error
