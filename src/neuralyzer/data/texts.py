"""Columns of text, such as ids and names of subjects, that take little memory and are read without loops."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

TEXT: Any = np.dtypes.StringDType()
"""Text of any length: 16 bytes a row up to 15 characters, where a fixed width takes four bytes a character."""

CHUNK = 65536  # texts that are Python objects at once


def as_texts(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Ids ``(N,)`` as text, from values that are all there."""
    given = np.asarray(values)
    return given if given.dtype == TEXT else given.astype(str).astype(TEXT)


def as_names(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Names ``(N,)`` as text; empty where one is missing."""
    if isinstance(values, np.ndarray) and values.dtype == TEXT:
        return values
    return np.array(["" if _missing(name) else str(name) for name in values], TEXT)


def of_column(column: pa.ChunkedArray, convert: Any = as_texts) -> np.ndarray:
    """Text ``(N,)`` from a column.

    Args:
        column: of any type.
        convert: ``as_texts`` or ``as_names``.

    Returns:
        What ``convert`` makes of the column's values.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        # the two kinds that nearly every id is of, without a Python object kept for each
        texts = pyarrow.compute.fill_null(column.cast(pa.large_string()), "")
        return np.asarray(texts.to_numpy()).astype(TEXT)
    made: np.ndarray = convert(column.to_pylist())
    return made


def to_arrow(texts: np.ndarray) -> pa.ChunkedArray:
    """Text ``(N,)`` as a column."""
    parts = [pa.array(texts[start : start + CHUNK].tolist(), pa.string()) for start in range(0, len(texts), CHUNK)]
    return pa.chunked_array(parts, pa.string())


def repeated(texts: np.ndarray) -> tuple[str, int] | None:
    """A text that stands more than once and how often, or None where all differ."""
    # texts that differ can have one hash, so only those of equal hash are compared; a table of all would be large
    hashes = np.fromiter((hash(text) for part in in_chunks(len(texts)) for text in texts[part]), np.int64, len(texts))
    ordered = np.sort(hashes)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return None
    values, counts = np.unique(texts[np.isin(hashes, again)], return_counts=True)
    return (str(values[counts > 1][0]), int(counts.max())) if counts.max() > 1 else None


def coded(texts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The distinct texts in order, and which of them each row has, ``(N,)``."""
    column = to_arrow(texts).dictionary_encode().combine_chunks()
    names = column.dictionary.to_numpy(zero_copy_only=False).astype(TEXT)
    order = np.argsort(names)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return names[order].tolist(), rank[column.indices.to_numpy()]


def places(texts: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Where each text stands ``among`` others that are all different, ``(N,)``; -1 where it does not."""
    found = pyarrow.compute.index_in(to_arrow(texts), value_set=to_arrow(among).combine_chunks())
    at: np.ndarray = pyarrow.compute.fill_null(found, -1).to_numpy().astype(np.int64)
    return at


def in_chunks(count: int) -> Iterator[slice]:
    """Slices that together pass over ``count`` rows."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def _missing(name: Any) -> bool:
    return name is None or name == "" or (isinstance(name, float) and np.isnan(name))
