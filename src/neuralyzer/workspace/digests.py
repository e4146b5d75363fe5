"""SHA-256 digests of files, JSON documents and arrays."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.errors import UnreadableError

ROW = np.dtype("V32")
"""One row's SHA-256: 32 bytes, where text would take 256. Unlike ``S32`` it keeps zeros at its end."""

ERASED = bytes(ROW.itemsize)
"""What stands in the place of an erased row's digest."""


def of_bytes(content: bytes) -> str:
    """Hexadecimal SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()


def of_json(content: Any) -> str:
    """Digest of a JSON document, the same for equal documents whatever the order of their keys."""
    return of_bytes(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def of_file(path: Path) -> str:
    """Digest of a file's bytes.

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
    """Digest of each row's content over several columns of equal length ``N``.

    Args:
        columns: arrays ``(N, ...)``; a row's digest covers its dtype, shape and bytes in each.

    Returns:
        Digests ``(N,)`` of 32 bytes each (``ROW``); equal rows have equal digests.
    """
    count = len(columns[0])
    parts = []
    for column in columns:
        head = np.frombuffer(f"{column.dtype.str}{column.shape[1:]}".encode(), np.uint8)
        content = np.ascontiguousarray(column).reshape(count, -1).view(np.uint8)
        parts += [np.broadcast_to(head, (count, len(head))), content]
    whole = np.concatenate(parts, axis=1)
    return np.frombuffer(b"".join(hashlib.sha256(row).digest() for row in whole), ROW)


def of_hex(texts: Sequence[str]) -> np.ndarray:
    """Rows' digests ``(N,)`` from hexadecimal ones; from an empty text comes ``ERASED``."""
    return np.frombuffer(bytearray(b"".join(bytes.fromhex(text) if text else ERASED for text in texts)), ROW)


def hexadecimal(rows: np.ndarray) -> list[str]:
    """Rows' digests ``(N,)`` as texts."""
    return [digest.hex() for digest in rows.tolist()]


def known(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which of some rows have their digest ``among`` others, ``(N,)``."""
    # The first eight bytes as numbers sort fast and decide nearly always; the whole digest is compared where they agree.
    likely = np.isin(_numbers(rows), _numbers(among))
    if likely.any():
        same = among[np.isin(_numbers(among), _numbers(rows[likely]))]
        likely[likely] = np.isin(rows[likely], same)
    return likely


def _numbers(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).view(np.uint64).reshape(-1, ROW.itemsize // 8)[:, 0]


def of_texts(texts: Iterable[str]) -> str:
    """Digest of a sequence of texts, in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()
