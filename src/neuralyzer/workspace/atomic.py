"""Atomic writes, which happen completely or not at all: temporary name, fsync, rename."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neuralyzer.errors import StorageError, UnreadableError

PART = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on any failure it is removed.

    Args:
        path: of the finished file; its folder is made.

    Yields:
        A path in the same folder to write to.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    try:
        make_folder(path.parent)
        _sweep(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=PART)
        os.close(handle)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from error
    part = Path(name)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from error
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it that are missing, for the owner alone (mode 0700).

    Returns:
        ``folder``.

    Raises:
        OSError: if it cannot be made.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _sync_folder(folder: Path) -> None:
    """Flush a folder, so that a new name in it survives a crash."""
    if os.name != "posix":
        return  # other systems cannot open a folder
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(path: Path) -> None:
    """Remove the temporary files of writers of ``path`` that were killed, not those of running ones."""
    for left in path.parent.glob(f".{path.name}.*{PART}"):
        writer = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if writer.isdigit() and not is_running(int(writer)):
            left.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_bytes(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write ``content`` to ``path`` atomically, with the file mode ``mode``."""
    with replacing(path) as part:
        part.write_bytes(content)
        part.chmod(mode)
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write ``content`` as JSON with sorted keys, atomically."""
    return write_bytes(path, (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file, then replace ``path`` by it."""
    with replacing(path) as part:
        write(part)
        part.chmod(0o600)  # some libraries replace the temporary file by one with another mode
    return path


def read_json(path: Path) -> Any:
    """Read JSON.

    Returns:
        The file's content.

    Raises:
        UnreadableError: if the file is missing, truncated or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UnreadableError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableError(f"{path} is not readable JSON ({error}); it may be truncated") from error
