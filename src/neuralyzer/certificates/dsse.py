"""DSSE v1 envelopes: a payload, its type, and signatures over both (the format of in-toto and Sigstore)."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from neuralyzer.errors import CertificateError
from neuralyzer.workspace.signing_keys import key_id

_STANDARD = str.maketrans("-_", "+/")


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding, the bytes that are signed: the type is signed with the payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Put a payload into a signed envelope.

    Args:
        payload: any bytes.
        payload_type: their media type.
        key: signs.

    Returns:
        The envelope: ``payloadType``, ``payload``, ``signatures``.
    """
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {
                "keyid": key_id(key.public_key()),
                "sig": base64.b64encode(key.sign(pae(payload_type, payload))).decode(),
            }
        ],
    }


def verify(envelope: Mapping[str, Any], public_keys: Sequence[Ed25519PublicKey], threshold: int = 1) -> bytes:
    """Check an envelope's signatures.

    Args:
        envelope: as :func:`sign` makes it.
        public_keys: the trusted keys. Each is tried on each signature, for a ``keyid`` is only a hint.
        threshold: how many different trusted keys must have signed.

    Returns:
        The payload, now verified.

    Raises:
        CertificateError: if this is no envelope, or fewer than ``threshold`` of the keys have signed it.
    """
    if threshold < 1:
        raise CertificateError(f"threshold is {threshold}; at least one signature must be asked for")
    payload_type, payload, signatures = _parts(envelope)
    signed = pae(payload_type, payload)
    # A key that is given twice, or that signed twice, counts once.
    trusted = {key_id(key): key for key in public_keys}
    valid = sum(any(_signed_by(key, signature, signed) for signature in signatures) for key in trusted.values())
    if valid < threshold:
        raise CertificateError(
            f"the signature does not fit: {valid} of the {len(trusted)} trusted keys signed this payload, {threshold} "
            "must have; it was changed after signing, or another key signed it"
        )
    return payload


def _parts(envelope: Mapping[str, Any]) -> tuple[str, bytes, list[bytes]]:
    entries = envelope.get("signatures")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise CertificateError("this is no DSSE envelope: it has no list of signatures")
    payload_type = envelope.get("payloadType")
    if not isinstance(payload_type, str):
        raise CertificateError("this is no DSSE envelope: it has no payloadType")
    payload = _decoded(envelope.get("payload"), "payload")
    return payload_type, payload, [_decoded(entry.get("sig"), "signature") for entry in entries]


def _decoded(text: object, what: str) -> bytes:
    """Decode base64, standard or URL-safe as DSSE allows, but only its one canonical spelling.

    Returns:
        What it spells.

    Raises:
        CertificateError: if it is something else.
    """
    if not isinstance(text, str):
        raise CertificateError(f"this is no DSSE envelope: its {what} is missing")
    standard = text.translate(_STANDARD)
    try:
        content = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CertificateError(f"the envelope's {what} is not base64; the file was changed or damaged") from error
    if base64.b64encode(content).decode() != standard:
        raise CertificateError(f"the envelope's {what} is not canonical base64; the file was changed or damaged")
    return content


def _signed_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
