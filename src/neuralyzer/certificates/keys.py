"""The operator's signing key and the key of the subjects' commitments: made on first use, readable by the owner alone."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from neuralyzer.errors import CertificateError, StorageError
from neuralyzer.workspace.atomic import write_bytes
from neuralyzer.workspace.paths import Workspace

SIGNING, PUBLIC, SUBJECTS = "signing.pem", "signing.pub.pem", "subjects.key"
COMMITMENT_KEY_BYTES = 32


def signing_key(workspace: Workspace) -> Ed25519PrivateKey:
    """The workspace's Ed25519 key; on first use it is made, and its public half written beside it.

    Args:
        workspace: whose key it is.

    Returns:
        The private key, from ``keys/signing.pem`` (PKCS8, mode 0600).

    Raises:
        CertificateError: if the file is unreadable or holds no Ed25519 key.
    """
    path = workspace.keys / SIGNING
    content = _first_use(
        path,
        lambda: Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{path} is no usable private key (damaged or encrypted); restore it from a backup, or remove it "
            "and a new one is made"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CertificateError(f"{path} holds another kind of key; certificates are signed with Ed25519")
    public = workspace.keys / PUBLIC
    if not public.exists():
        write_bytes(public, public_pem(key.public_key()))
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM, as ``openssl`` reads it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Ed25519PublicKey) -> str:
    """Return a public key's name: hexadecimal SHA-256 of its 32 raw bytes."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Args:
        path: a PEM file.

    Returns:
        The key.

    Raises:
        CertificateError: if the file is unreadable or holds no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path} is no public key in PEM; ask the operator for theirs") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CertificateError(f"{path} holds another kind of key; certificates are signed with Ed25519")
    return key


def commitment(workspace: Workspace, names: Iterable[str]) -> str:
    """What stands in a certificate in place of the subjects' names: whoever has the key can recompute it.

    Erasing the key ``keys/subjects.key`` erases the names from every certificate ever issued.

    Args:
        workspace: whose key it is.
        names: the subjects; neither order nor repetition matters.

    Returns:
        ``hmac-sha256:`` and 64 hexadecimal digits.

    Raises:
        CertificateError: if the key is unreadable or has not 32 bytes.
    """
    path = workspace.keys / SUBJECTS
    key = _first_use(path, lambda: secrets.token_bytes(COMMITMENT_KEY_BYTES))
    if len(key) != COMMITMENT_KEY_BYTES:
        raise CertificateError(
            f"{path} has {len(key)} bytes where a commitment key has {COMMITMENT_KEY_BYTES}; restore it from a "
            "backup, or remove it: older commitments can then no longer be matched with names"
        )
    message = json.dumps(sorted(set(names))).encode()
    return f"hmac-sha256:{hmac.digest(key, message, 'sha256').hex()}"


def _first_use(path: Path, make: Callable[[], bytes]) -> bytes:
    """Read the key at ``path``, made first where there is none; of two processes that make one, both use the same.

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
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}; choose another workspace") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read the key {path}: {error.strerror}") from error
