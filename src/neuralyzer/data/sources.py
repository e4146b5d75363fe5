"""Files as data: Parquet, CSV and JSON Lines through Arrow, and predicates over their columns through DuckDB."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from neuralyzer.data.rows import ArrayRows, Data, as_features, as_target
from neuralyzer.errors import UnreadableError, UsageError


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file as a table."""
    return _read(path, pa.parquet.read_table)


def read_csv(path: Path) -> pa.Table:
    """A CSV file with a header as a table."""
    return _read(path, pa.csv.read_csv)


def read_jsonl(path: Path) -> pa.Table:
    """A JSON Lines file as a table."""
    return _read(path, pa.json.read_json)


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
    targets = table[target].combine_chunks()
    if targets.null_count:
        raise UsageError(f"{name}: {targets.null_count} rows have no {target!r}; every training row needs a target")
    if pa.types.is_string(targets.type) or pa.types.is_large_string(targets.type):
        texts = np.asarray(targets.to_pylist())
        names = tuple(classes) if classes is not None else tuple(np.unique(texts).tolist())
        unknown = sorted(set(texts) - set(names))
        if unknown:
            raise UsageError(f"{name}: target {unknown[0]!r} is none of the classes {', '.join(names)}")
        numbers = {label: number for number, label in enumerate(names)}
        y = np.array([numbers[text] for text in texts])
    else:
        names = tuple(classes) if classes is not None else None
        y = targets.to_numpy(zero_copy_only=False)
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


def _stack(table: pa.Table, columns: Sequence[str], name: str) -> np.ndarray:
    parts = []
    for column in columns:
        values = table[column].combine_chunks()
        try:
            if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
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
    return np.concatenate(parts, axis=1)


def where(table: pa.Table, predicate: str) -> np.ndarray:
    """Positions of the rows of ``table`` that satisfy a predicate in DuckDB's SQL.

    The predicate is one expression over the table's columns; it can reach no file and no other table.

    Raises:
        UsageError: if it is no such expression.
    """
    numbered = table.append_column("__position", pa.array(np.arange(len(table))))
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("rows", numbered)
        connection.execute("SET enable_external_access = false")
        try:
            statements = connection.extract_statements(f"SELECT __position FROM rows WHERE ({predicate}\n)")
            if len(statements) != 1:
                raise UsageError(f"predicate {predicate!r} is more than one expression")
            found = connection.execute(statements[0]).fetchnumpy()["__position"]
        except duckdb.Error as error:
            raise UsageError(
                f"predicate {predicate!r} cannot be evaluated ({str(error).splitlines()[0]}); "
                f"columns are {', '.join(table.column_names)}"
            ) from error
    return np.sort(np.asarray(found, dtype=np.int64))
