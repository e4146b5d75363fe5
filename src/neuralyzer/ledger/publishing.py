"""Where checkpoints go, so that the operator cannot replace them later: a file, an address, a time-stamp authority."""

import datetime as dt
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from neuralyzer.errors import LedgerError, StorageError, UsageError, first_line
from neuralyzer.ledger import notes
from neuralyzer.workspace.atomic import write_bytes

SECONDS = 20  # until another server must have answered
LARGEST = 1 << 20  # bytes of an answer that are read
STAMPS = ".tsr"  # a time-stamp's file, beside its checkpoint


def publish(checkpoint: Path, to: str) -> str:
    """Send a checkpoint to a file or an address.

    Args:
        checkpoint: file of the signed note.
        to: an http or https URL, which gets it by POST; else a file, which must not hold another text.

    Returns:
        What was done, in words.

    Raises:
        StorageError: if it could not be sent or written.
        UsageError: if the file holds something else, or the extra ``service`` is not installed.
    """
    note = checkpoint.read_bytes()
    if urlsplit(to).scheme in ("http", "https"):
        _post(to, note, "text/plain; charset=utf-8")
        return f"sent to {to}"
    path = Path(to)
    if path.exists() and path.read_bytes() != note:
        raise UsageError(f"{path} exists already, and nothing is overwritten; name another file")
    write_bytes(path, note, mode=0o644)
    return f"written to {path}"


def time_stamp(checkpoint: Path, authority: str) -> Path:
    """Let a time-stamp authority (RFC 3161) state that a checkpoint exists now.

    What is stamped is the checkpoint's text without its signatures, so countersignatures may be added later.

    Args:
        checkpoint: file of the signed note.
        authority: its http or https URL.

    Returns:
        The file of its response, beside the checkpoint.

    Raises:
        StorageError: if it cannot be reached.
        LedgerError: if it refuses, or its answer is about something else.
        UsageError: if the extra ``service`` is not installed.
    """
    client = _client()
    text = _stamped(checkpoint)
    request = client.TimestampRequestBuilder().data(text).hash_algorithm(client.HashAlgorithm.SHA256).build()
    content = _post(authority, request.as_bytes(), "application/timestamp-query")
    response = _decoded(client, content, authority)
    if response.status != 0:  # granted without changes (section 2.4.2)
        raise LedgerError(f"{authority} gives no time-stamp: {'; '.join(response.status_string) or response.status}")
    info = response.tst_info
    if info.message_imprint.message != request.message_imprint.message or info.nonce != request.nonce:
        raise LedgerError(f"{authority} answered with a time-stamp of something else")
    return write_bytes(stamp_beside(checkpoint), content)


def stamp_beside(checkpoint: Path) -> Path:
    """Return the file of a checkpoint's time-stamp."""
    return checkpoint.with_name(checkpoint.name + STAMPS)


def stamped_at(checkpoint: Path, stamp: Path, roots: Path) -> dt.datetime:
    """Verify a time-stamp.

    Args:
        checkpoint: file of the signed note.
        stamp: file of the authority's response.
        roots: PEM file of the certificates of authorities that are trusted.

    Returns:
        When the checkpoint existed, by the authority's clock.

    Raises:
        LedgerError: if the time-stamp is not about this checkpoint, or none of the authorities made it.
        UsageError: if the extra ``service`` is not installed, or ``roots`` holds no certificates.
    """
    client = _client()
    try:
        certificates = x509.load_pem_x509_certificates(roots.read_bytes())
        content = stamp.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {roots} or {stamp}: {first_line(error)}") from error
    response = _decoded(client, content, str(stamp))
    verifier = client.VerifierBuilder()
    for certificate in certificates:
        verifier = verifier.add_root_certificate(certificate)
    try:
        verifier.build().verify_message(response, _stamped(checkpoint))
    except client.VerificationError as error:
        raise LedgerError(f"{stamp.name} is no time-stamp of {checkpoint.name}: {first_line(error)}") from error
    moment: dt.datetime = response.tst_info.gen_time
    return moment


def _stamped(checkpoint: Path) -> bytes:
    return notes.parts(checkpoint.read_text())[0].encode()


def _decoded(client: ModuleType, content: bytes, source: str) -> Any:
    try:
        return client.decode_timestamp_response(content)
    except ValueError as error:
        raise LedgerError(f"what {source} gives is no time-stamp") from error


def _client() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError as error:
        raise UsageError("time-stamps need: pip install 'neuralyzer-unlearning[service]'") from error
    return rfc3161_client


def _post(url: str, content: bytes, kind: str) -> bytes:
    """Send bytes, and return the answer's; redirects are not followed."""
    try:
        import httpx
    except ImportError as error:
        raise UsageError("sending needs: pip install 'neuralyzer-unlearning[service]'") from error
    read = b""
    try:
        with (
            httpx.Client(timeout=SECONDS, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers={"Content-Type": kind}) as answer,
        ):
            status = answer.status_code
            for part in answer.iter_bytes():
                read += part
                if len(read) > LARGEST:
                    raise StorageError(f"{url} answers with more than {LARGEST:,} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StorageError(f"{url} could not be reached ({type(error).__name__}: {first_line(error)})") from error
    if not 200 <= status < 300:
        raise StorageError(f"{url} answered with status {status}; the checkpoint was not taken there")
    return read
