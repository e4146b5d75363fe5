"""The removal of rows from files; what is left stays as it was, byte by byte where the file is text."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from neuralyzer.errors import DataChangedError, UnreadableError
from neuralyzer.workspace import atomic

Lines = Iterator[list[str]]


def without(path: Path, gone: np.ndarray, to: Path, separator: str = ",", encoding: str = "utf-8") -> None:
    """Write a file without some of its rows.

    Args:
        path: of a Parquet, CSV or JSON Lines file.
        gone: which rows go, ``(N,)`` booleans, in the file's order.
        to: the file that is written, completely or not at all.
        separator: of a CSV file.
        encoding: of a CSV file.

    Raises:
        UnreadableError: if the file is of an unknown kind.
        DataChangedError: if it has not ``N`` rows.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        atomic.write_with(to, lambda part: _parquet(path, gone, part))
        return
    if kind == ".csv":
        records = _csv_records(path, separator, encoding)
    elif kind in (".jsonl", ".json"):
        records, encoding = _json_records(path), "utf-8"
    else:
        raise UnreadableError(f"{path} is none of .parquet, .csv, .jsonl, .json")
    atomic.write_with(to, lambda part: _text(path, records, gone, part, encoding))


def _text(path: Path, records: Iterator[tuple[bool, list[str]]], gone: np.ndarray, part: Path, encoding: str) -> None:
    rows = 0
    with part.open("w", encoding=encoding, newline="") as file:
        for is_row, lines in records:
            if not is_row or rows >= len(gone) or not gone[rows]:
                file.writelines(lines)
            rows += is_row
    _same_count(path, rows, gone)


def _csv_records(path: Path, separator: str, encoding: str) -> Iterator[tuple[bool, list[str]]]:
    """Yield the lines of each record, as they are written, and whether it is a row: no header and no empty line."""
    with path.open(encoding=encoding, newline="") as file:
        seen: list[str] = []

        def remembered() -> Iterator[str]:
            for line in file:
                seen.append(line)
                yield line

        header = True
        for record in csv.reader(remembered(), delimiter=separator):
            lines, seen[:] = list(seen), []
            yield bool(record) and not header, lines
            header = header and not record


def _json_records(path: Path) -> Iterator[tuple[bool, list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        for line in file:
            yield bool(line.strip()), [line]


def _parquet(path: Path, gone: np.ndarray, part: Path) -> None:
    rows, source = 0, parquet.ParquetFile(path)
    with parquet.ParquetWriter(part, source.schema_arrow) as writer:
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            left = ~gone[rows : rows + len(table)]
            if len(left) == len(table):  # else the count below is wrong too
                writer.write_table(table.filter(pa.array(left)))
            rows += len(table)
    _same_count(path, rows, gone)


def _same_count(path: Path, rows: int, gone: np.ndarray) -> None:
    if rows != len(gone):
        raise DataChangedError(f"{path} has {rows:,} rows where {len(gone):,} were read; it changed meanwhile")
