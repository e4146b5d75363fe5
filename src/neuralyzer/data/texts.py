"""Columns of text, such as ids and subjects' names, in little memory and without Python loops."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from neuralyzer.errors import UsageError

TEXT: Any = np.dtypes.StringDType()
"""Text of any length: 16 bytes per row up to 15 characters, where a fixed width takes four bytes per character."""

CHUNK = 65536  # texts that exist as Python objects at once
CONTAINERS = (list, tuple, dict, set, np.ndarray)  # types that are no names


def as_texts(values: Sequence[Any] | np.ndarray, what: str = "the ids") -> np.ndarray:
    """Return ids as text.

    Args:
        values: ``(N,)`` of any plain type.
        what: name of the values in an error.

    Returns:
        Text ``(N,)``, each value as it is written.

    Raises:
        UsageError: if one is missing, or is no name (``as_names``).
    """
    ids = as_names(values, what)
    missing = np.flatnonzero(ids == "")
    if len(missing):
        raise UsageError(
            f"{what}: row {missing[0]:,} has no id ({len(missing):,} such); every row needs one, or leave out id="
        )
    return ids


def as_names(values: Sequence[Any] | np.ndarray, what: str = "the subjects") -> np.ndarray:
    """Return names as text.

    Args:
        values: ``(N,)`` of any plain type; None, NaN, NaT, ``pandas.NA`` and blank text are missing names.
        what: name of the values in an error.

    Returns:
        Text ``(N,)``, each value as it is written; empty where one is missing.

    Raises:
        UsageError: if one is a list or another container, bytes that are not UTF-8, or a floating-point number so large
            that it stands for several whole numbers.
    """
    given = np.asarray(values) if isinstance(values, np.ndarray) else values
    if isinstance(given, np.ndarray):
        if given.ndim != 1:
            raise UsageError(f"{what} have shape {given.shape}; they must be one a row, (N,)")
        if given.dtype == TEXT:
            return _without_blanks(given)
        if given.dtype.kind == "f":
            _require_distinct(given, what)
        if given.dtype.kind in "iu":
            return given.astype(TEXT)
    names = np.array([_name(value, at, what) for at, value in enumerate(given)], TEXT)
    return _without_blanks(names)


def of_column(column: pa.ChunkedArray, what: str = "the names") -> np.ndarray:
    """Return names from a column.

    Args:
        column: of any plain type, ``N`` rows.
        what: name of the column in an error.

    Returns:
        Text ``(N,)``; empty where a name is missing.

    Raises:
        UsageError: as ``as_names``.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        # Nearly all ids are text or integers; these two need no Python object for each value.
        texts = pyarrow.compute.fill_null(column.cast(pa.large_string()), "")
        return _without_blanks(np.asarray(texts.to_numpy()).astype(TEXT))
    if pa.types.is_temporal(kind):
        column = column.cast(pa.string())
    elif pa.types.is_floating(kind):
        _require_distinct(pyarrow.compute.fill_null(column, 0.0).to_numpy(), what)
    return as_names(column.to_pylist(), what)


def to_arrow(texts: np.ndarray) -> pa.ChunkedArray:
    """Return text ``(N,)`` as a column."""
    parts = [pa.array(texts[start : start + CHUNK].tolist(), pa.string()) for start in range(0, len(texts), CHUNK)]
    return pa.chunked_array(parts, pa.string())


def repeated(texts: np.ndarray) -> tuple[str, int] | None:
    """Return a text that occurs more than once and how often, or None where all differ."""
    # Sorting hashes takes less memory than a set of all texts. Different texts may have one hash, so those of equal
    # hash are compared.
    hashes = np.fromiter((hash(text) for part in in_chunks(len(texts)) for text in texts[part]), np.int64, len(texts))
    ordered = np.sort(hashes)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return None
    values, counts = np.unique(texts[np.isin(hashes, again)], return_counts=True)
    return (str(values[counts > 1][0]), int(counts.max())) if counts.max() > 1 else None


def coded(texts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the distinct texts in order, and the index of each row's text among them, ``(N,)``."""
    column = to_arrow(texts).dictionary_encode().combine_chunks()
    names = column.dictionary.to_numpy(zero_copy_only=False).astype(TEXT)
    order = np.argsort(names)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return names[order].tolist(), rank[column.indices.to_numpy()]


def places(texts: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the index of each text ``among`` others that are all different, ``(N,)``; -1 where it is not there."""
    index = pyarrow.compute.index_in(to_arrow(texts), value_set=to_arrow(among).combine_chunks())
    at: np.ndarray = pyarrow.compute.fill_null(index, -1).to_numpy().astype(np.int64)
    return at


def in_chunks(count: int) -> Iterator[slice]:
    """Yield slices that together cover ``count`` rows."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def _name(value: Any, at: int, what: str) -> str:
    if isinstance(value, CONTAINERS):
        raise UsageError(f"{what}: row {at:,} has a {type(value).__name__} where a name must stand")
    if _missing(value):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{what}: row {at:,} has the bytes {value[:20]!r}, which are not UTF-8") from None
    return str(value)


def _missing(value: Any) -> bool:
    """Return whether a value is no name; NaN and NaT of every kind differ from themselves."""
    try:
        return value is None or bool(operator.ne(value, value))
    except TypeError:  # pandas.NA is neither equal to itself nor different
        return True


def _without_blanks(names: np.ndarray) -> np.ndarray:
    """Return names with blank ones empty; the array itself where there are none."""
    blank = np.strings.isspace(names)
    return np.where(blank, np.array("", TEXT), names) if blank.any() else names


def _require_distinct(numbers: np.ndarray, what: str) -> None:
    """Refuse floating-point numbers so large that one stands for several whole numbers."""
    limit = 2.0 ** (np.finfo(numbers.dtype).nmant + 1)
    large = np.abs(numbers[np.isfinite(numbers)]) >= limit
    if large.any():
        raise UsageError(
            f"{what}: names are {numbers.dtype} numbers of {limit:,.0f} and more, of which several are one; give them "
            "as text or whole numbers"
        )
