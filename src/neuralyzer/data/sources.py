"""Files as data: Parquet, CSV and JSON Lines through Arrow, and predicates over their columns through DuckDB."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from pyarrow import csv, json, parquet

from neuralyzer.data.rows import ArrayRows, Data, as_features, as_target
from neuralyzer.errors import UnreadableError, UsageError


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file as a table."""
    return _read(path, parquet.read_table)


def read_csv(path: Path) -> pa.Table:
    """A CSV file with a header as a table."""
    return _read(path, csv.read_csv)


def read_jsonl(path: Path) -> pa.Table:
    """A JSON Lines file as a table."""
    return _read(path, json.read_json)


def _read(path: Path, read: Callable[[Path], pa.Table]) -> pa.Table:
    try:
        return read(path)
    except FileNotFoundError:
        raise UnreadableError(f"{path} does not exist") from None
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UnreadableError(f"{path} cannot be read ({reason}); it may be truncated or of another kind") from error


def from_table(
    table: pa.Table,
    name: str = "the table",
    *,
    target: str,
    subject: str | None = None,
    id: str | None = None,
    features: Sequence[str] | None = None,
    transform: Callable[[pa.Table], Any] | None = None,
    classes: Sequence[str] | None = None,
) -> Data:
    """Data from an Arrow table.

    Args:
        table: ``N`` rows.
        name: what to call it in an error.
        target: column of the targets; text becomes class numbers in the order of ``classes``, or sorted.
        subject: column of the subject ids; without it each row is its own subject.
        id: column of the row ids; without it rows are numbered.
        features: columns of the features; by default every other column. Lists of equal length become one more axis.
        transform: makes the features ``(N, ...)`` from the table, in place of ``features``.
        classes: names of the classes, where targets are text.

    Returns:
        The rows.

    Raises:
        UsageError: if a column is missing, or features are not numbers and there is no ``transform``.
    """
    for column in (target, subject, id, *(features or ())):
        if column is not None and column not in table.column_names:
            raise UsageError(f"{name} has no column {column!r}; it has {', '.join(table.column_names)}")
    if not len(table):
        raise UsageError(f"{name} has no rows")
    if id is not None and table[id].null_count:
        raise UsageError(f"{name}: {table[id].null_count} rows have no {id!r}; every row needs an id, or leave out id=")
    targets = table[target].combine_chunks()
    if pa.types.is_dictionary(targets.type):
        targets = targets.dictionary_decode()
    missing = targets.is_null(nan_is_null=True).to_numpy(zero_copy_only=False).sum()
    if missing:
        raise UsageError(f"{name}: {missing} rows have no {target!r}; every training row needs a target")
    if any(
        is_text(targets.type) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    ):
        texts = np.asarray(targets.to_pylist())
        named = tuple(classes) if classes is not None else tuple(np.unique(texts).tolist())
        unknown = sorted(set(texts) - set(named))
        if unknown:
            raise UsageError(f"{name}: target {str(unknown[0])!r} is none of the classes {', '.join(named)}")
        numbers = {label: number for number, label in enumerate(named)}
        names: tuple[str, ...] | None = named
        y = np.array([numbers[text] for text in texts])
    else:
        names = tuple(classes) if classes is not None else None
        y = _numbers(targets, target, name)
    if transform is not None:
        x = transform(table)
    else:
        chosen = features or [column for column in table.column_names if column not in (target, subject, id)]
        x = _stack(table, chosen, name)
    return Data(
        ArrayRows(as_features(x), as_target(y)),
        subjects=None if subject is None else table[subject].to_pylist(),
        ids=None if id is None else table[id].to_pylist(),
        classes=names,
        table=table,
    )


def _numbers(targets: pa.Array, column: str, name: str) -> np.ndarray:
    """Targets that are numbers, or lists of equal length of numbers."""
    try:
        y = np.array(targets.to_pylist()) if _is_list(targets.type) else targets.to_numpy(zero_copy_only=False)
    except ValueError:
        y = np.array(None)
    if y.dtype.kind not in "biuf":
        raise UsageError(f"{name}: target {column!r} is neither numbers nor text, but {targets.type}")
    return y


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _stack(table: pa.Table, columns: Sequence[str], name: str) -> np.ndarray:
    parts = []
    for column in columns:
        values = table[column].combine_chunks()
        try:
            if _is_list(values.type):
                part = np.array(values.to_pylist(), dtype=np.float32)
            else:
                part = values.to_numpy(zero_copy_only=False).astype(np.float32)[:, None]
        except (ValueError, TypeError):
            raise UsageError(
                f"{name}: column {column!r} holds no plain numbers; leave it out with features= or give transform="
            ) from None
        if np.isnan(part).any():
            raise UsageError(f"{name}: column {column!r} has missing values; fill them or give transform=")
        parts.append(part)
    if not parts:
        raise UsageError(f"{name} has no feature column besides target, subject and id")
    try:
        return np.concatenate(parts, axis=1)
    except ValueError:
        raise UsageError(
            f"{name}: columns {', '.join(columns)} have shapes that do not go together; give transform="
        ) from None


def where(table: pa.Table, predicate: str) -> np.ndarray:
    """Positions of the rows of ``table`` that satisfy a predicate in DuckDB's SQL.

    The predicate is one expression over the table's columns; it can reach no file and no other table.

    Returns:
        Sorted positions.

    Raises:
        UsageError: if it is no such expression.
    """
    numbered = table.append_column("__position", pa.array(np.arange(len(table))))
    # without external access a predicate reads no file, and no table that a Python variable holds
    config = {"threads": 2, "enable_external_access": False}
    with duckdb.connect(config=config) as connection:
        try:
            # filter parses one expression; in a WHERE clause of text, a closing bracket could begin a UNION
            found = connection.from_arrow(numbered).filter(predicate).fetchnumpy()["__position"]
        except duckdb.Error as error:
            raise UsageError(
                f"predicate {predicate!r} cannot be evaluated ({str(error).splitlines()[0]}); "
                f"columns are {', '.join(table.column_names)}"
            ) from error
    return np.sort(np.asarray(found, dtype=np.int64))
