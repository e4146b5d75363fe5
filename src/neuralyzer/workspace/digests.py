"""SHA-256 digests of files, JSON documents and arrays."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.errors import UnreadableError


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


def of_rows(*columns: np.ndarray) -> list[str]:
    """Digest of each row's content over several columns of equal length ``N``.

    Args:
        columns: arrays ``(N, ...)``; a row's digest covers its dtype, shape and bytes in each.

    Returns:
        ``N`` hexadecimal digests; equal rows have equal digests.
    """
    heads = [f"{column.dtype.str}{column.shape[1:]}".encode() for column in columns]
    contiguous = [np.ascontiguousarray(column) for column in columns]
    digests = []
    for row in range(len(contiguous[0])):
        digest = hashlib.sha256()
        for head, column in zip(heads, contiguous, strict=True):
            digest.update(head)
            digest.update(column[row].tobytes())
        digests.append(digest.hexdigest())
    return digests


def of_texts(texts: Iterable[str]) -> str:
    """Digest of a sequence of texts, in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()
