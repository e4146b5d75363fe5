"""Signing keys, made on first use and readable by their owner alone: of certificates, and of the ledger."""

import hashlib
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

from neuralyzer.errors import CertificateError
from neuralyzer.workspace.atomic import write_bytes
from neuralyzer.workspace.commitments import first_use
from neuralyzer.workspace.paths import Workspace

CERTIFICATES, LEDGER = "signing", "ledger"  # names of the workspace's keys


def signing_key(workspace: Workspace, name: str = CERTIFICATES) -> Ed25519PrivateKey:
    """Return a key of the workspace; make it on first use, and write the public key beside it.

    Args:
        workspace: has the key.
        name: of the key; each purpose has its own.

    Returns:
        The private key, from ``keys/<name>.pem`` (PKCS8, mode 0600).

    Raises:
        CertificateError: if the file is unreadable or holds no Ed25519 key.
    """
    return private_key(workspace.keys / f"{name}.pem")


def private_key(path: Path) -> Ed25519PrivateKey:
    """Return the Ed25519 key in a file; make it on first use, and write the public key beside it.

    Args:
        path: of a PEM file; ``key.pem`` has its public key in ``key.pub.pem``.

    Returns:
        The private key.

    Raises:
        CertificateError: if the file is unreadable or holds no Ed25519 key.
    """
    content = first_use(
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
        raise CertificateError(f"{path} holds another kind of key; everything here is signed with Ed25519")
    public = path.with_suffix(".pub.pem")
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
        raise CertificateError(f"{path} holds another kind of key; everything here is signed with Ed25519")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read the key {path}: {error.strerror}") from error
