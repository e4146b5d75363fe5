"""Locks between processes: one for each model lineage and one for each pool of references."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from neuralyzer.errors import NeuralyzerWarning, StorageError
from neuralyzer.workspace.atomic import make_folder


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock; if another process holds it, warn once and wait.

    The system releases it when its process ends, however it ends. A process that holds it may take it again; its child
    processes do not hold it.

    Args:
        path: of the lock's file, which is not removed.
        what: activity of the other process, as in "another process that ...".

    Yields:
        Once the lock is held.

    Raises:
        StorageError: if the file cannot be made.
    """
    try:
        make_folder(path.parent)
        lock = FileLock(path, mode=0o600, is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            warnings.warn(f"waiting for another process that {what} ({path.name})", NeuralyzerWarning, stacklevel=3)
            lock.acquire()
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {os.strerror(error.errno or 0)}; choose another workspace") from error
    try:
        yield
    finally:
        lock.release()
