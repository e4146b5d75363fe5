"""Keyed digests of names that a workspace must recognise but must not store, and the key's file."""

import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from neuralyzer.errors import CertificateError, StorageError
from neuralyzer.workspace.atomic import make_folder, write_bytes
from neuralyzer.workspace.paths import Workspace

SUBJECTS = "subjects.key"  # file of the key
BYTES = 32  # of the key


def key(workspace: Workspace) -> bytes:
    """Return the key of the workspace's commitments, made on first use and readable by its owner alone.

    Args:
        workspace: has the key.

    Returns:
        32 bytes.

    Raises:
        CertificateError: if it is unreadable, has another length, or others may read it.
    """
    path = workspace.keys / SUBJECTS
    content = first_use(path, lambda: secrets.token_bytes(BYTES))
    if len(content) != BYTES:
        raise CertificateError(
            f"{path} has {len(content)} bytes where a commitment key has {BYTES}; restore it from a "
            "backup, or remove it: older commitments can then no longer be matched with names"
        )
    return content


def commitment(workspace: Workspace, names: Iterable[str]) -> str:
    """Return the commitment that stands for the subjects' names in a certificate; the key is needed to compute it.

    Erasing the key ``keys/subjects.key`` erases the names from every certificate ever issued.

    Args:
        workspace: has the key.
        names: the subjects; neither order nor repetition matters.

    Returns:
        ``hmac-sha256:`` and 64 hexadecimal digits.

    Raises:
        CertificateError: as ``key``.
    """
    message = json.dumps(sorted(set(names))).encode()
    return f"hmac-sha256:{hmac.digest(key(workspace), message, 'sha256').hex()}"


def first_use(path: Path, make: Callable[[], bytes]) -> bytes:
    """Read the key at ``path``, and make it first if there is none; two processes that make it use the same one.

    Returns:
        The file's bytes.

    Raises:
        StorageError: if it cannot be written.
    """
    if not path.exists():
        _private_folder(path.parent)
        new = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        write_bytes(new, make(), mode=0o600)
        try:
            os.link(new, path)  # unlike a rename, never replaces a key that another process has just made
        except FileExistsError:
            pass
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}; choose another workspace") from error
        finally:
            new.unlink(missing_ok=True)
    return _read(path)


def _private_folder(folder: Path) -> None:
    try:
        make_folder(folder)
        folder.chmod(0o700)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}; choose another workspace") from error


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise CertificateError(f"others than its owner may read the key {path}; chmod 600 it, or make a new one")
        return content
    except OSError as error:
        raise CertificateError(f"cannot read the key {path}: {error.strerror}") from error
