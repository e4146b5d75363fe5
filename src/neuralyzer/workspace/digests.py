"""SHA-256 digests of files, JSON documents and arrays."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.errors import UnreadableError

ROW = np.dtype("V32")
"""One row's SHA-256: 32 bytes, where text takes 256. Unlike ``S32``, this type keeps zeros at the end."""

ERASED = bytes(ROW.itemsize)
"""The placeholder for an erased row's digest."""


def of_bytes(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()


def of_json(content: Any) -> str:
    """Return the digest of a JSON document, equal for equal documents whatever the order of their keys."""
    return of_bytes(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def of_file(path: Path) -> str:
    """Return the digest of a file's bytes.

    Returns:
        Hexadecimal SHA-256.

    Raises:
        UnreadableError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error


def of_rows(*columns: np.ndarray) -> np.ndarray:
    """Return the digest of each row's content over several columns of equal length ``N``.

    Args:
        columns: arrays ``(N, ...)``; a row's digest covers its dtype, shape and bytes in each. An array of objects
            holds each row's bytes.

    Returns:
        Digests ``(N,)`` of 32 bytes each (``ROW``); equal rows have equal digests.
    """
    if any(column.dtype == object for column in columns):
        return _of_bytes_each(columns)
    count = len(columns[0])
    parts = []
    for column in columns:
        head = np.frombuffer(f"{column.dtype.str}{column.shape[1:]}".encode(), np.uint8)
        content = np.ascontiguousarray(column).reshape(count, -1).view(np.uint8)
        parts += [np.broadcast_to(head, (count, len(head))), content]
    whole = np.concatenate(parts, axis=1)
    return np.frombuffer(b"".join(hashlib.sha256(row).digest() for row in whole), ROW)


def _of_bytes_each(columns: Sequence[np.ndarray]) -> np.ndarray:
    rows = []
    for row in range(len(columns[0])):
        cells = [column[row] for column in columns]
        parts = [
            cell if isinstance(cell, bytes) else f"{cell.dtype.str}{cell.shape}".encode() + cell.tobytes()
            for cell in cells
        ]
        rows.append(hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest())
    return np.frombuffer(b"".join(rows), ROW)


def of_values(inputs: Sequence[np.ndarray], y: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """Return the digest of each row's values, equal for equal numbers: 0.0 and -0.0, 1 and 1.0, in any type.

    Args:
        inputs: features ``(N, ...)``, one array or several.
        y: targets ``(N, ...)``.
        contents: ``of_rows(*inputs, y)``; a row in the usual types, float32 with labels in int64, has this digest.

    Returns:
        Digests ``(N,)`` of 32 bytes each (``ROW``).
    """
    values = contents.copy()
    if len(inputs) > 1:  # the digest of the inputs' digests
        by_input = [of_values([x], y, of_rows(x, y)) for x in inputs]
        return of_rows(*(np.frombuffer(rows.tobytes(), np.uint8).reshape(len(y), -1) for rows in by_input))
    (x,) = inputs
    if not len(x) or x.dtype == object:
        return values
    narrow, whole = _narrow(x), _whole(y)
    flat = y.reshape(len(y)) if y.size == len(y) else y
    usual_shape = x.dtype == np.float32 and flat.ndim == y.ndim
    usual = narrow & usual_shape & ~_negative_zero(x)
    usual &= (whole & (y.dtype == np.int64)) | (~whole & (y.dtype == np.float32) & ~_negative_zero(y))
    for in_float32 in (True, False):
        for in_int64 in (True, False):
            rows = np.flatnonzero(~usual & (narrow == in_float32) & (whole == in_int64))
            if len(rows):
                features = x[rows].astype(np.float32 if in_float32 else np.float64) + 0  # adding 0 turns -0.0 into 0.0
                targets = flat[rows].astype(np.int64 if in_int64 else np.float32) + 0
                values[rows] = of_rows(features, targets)
    return values


def _narrow(x: np.ndarray) -> np.ndarray:
    """Return which rows lose nothing in float32, ``(N,)``."""
    if x.dtype in (np.float32, np.float16, np.uint8, np.int8, np.bool_):
        return np.ones(len(x), bool)
    with np.errstate(over="ignore"):
        same: np.ndarray = (x.astype(np.float32).astype(np.float64) == x.astype(np.float64)).reshape(len(x), -1).all(1)
    return same


def _whole(y: np.ndarray) -> np.ndarray:
    """Return which rows have whole numbers as targets, ``(N,)``."""
    if y.dtype.kind != "f":
        return np.ones(len(y), bool)
    numbers = y.reshape(len(y), -1)
    whole: np.ndarray = ((np.abs(numbers) < 2**53) & (np.rint(numbers) == numbers)).all(1)
    return whole


def _negative_zero(values: np.ndarray) -> np.ndarray:
    negative: np.ndarray = ((values == 0) & np.signbit(values)).reshape(len(values), -1).any(1)
    return negative


def of_hex(texts: Sequence[str]) -> np.ndarray:
    """Return rows' digests ``(N,)`` from hexadecimal ones; an empty text becomes ``ERASED``."""
    return np.frombuffer(bytearray(b"".join(bytes.fromhex(text) if text else ERASED for text in texts)), ROW)


def hexadecimal(rows: np.ndarray) -> list[str]:
    """Return rows' digests ``(N,)`` as texts."""
    return [digest.hex() for digest in rows.tolist()]


def known(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return which rows have a digest that is ``among`` others, ``(N,)``."""
    # The first eight bytes, as numbers, sort fast and nearly always differ; whole digests are compared where they
    # agree.
    likely = np.isin(_numbers(rows), _numbers(among))
    if likely.any():
        same = among[np.isin(_numbers(among), _numbers(rows[likely]))]
        likely[likely] = np.isin(rows[likely], same)
    return likely


def _numbers(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).view(np.uint64).reshape(-1, ROW.itemsize // 8)[:, 0]


def of_texts(texts: Iterable[str]) -> str:
    """Return the digest of a sequence of texts, in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()
