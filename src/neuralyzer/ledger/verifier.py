"""Checks a certificate of erasure in a bare folder: ``python verify.py FOLDER``. Needs ``cryptography`` and nothing else.

This file stands alone: it shares no code with Neuralyzer, so that it also checks what Neuralyzer wrote. The folder has

    certificate.json          a DSSE envelope with an in-toto Statement
    certificate.pub.pem       the operator's public key; --key FILE takes one that you got by another way
    *.safetensors             the weights, here or in folders below
    certificate.ledger.json   optional: a newer proof that the verdict is in the operator's ledger
    ledger.keys               optional: the ledger's key, then those of countersigners; --ledger-keys FILE likewise

It prints one line a check. It exits 0 if all hold, 1 if one fails, and 2 if a file is missing or cannot be read.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PAYLOAD_TYPE = "application/vnd.in-toto+json"
NOTE, COUNTERSIGNATURE = 1, 4  # kinds of keys (c2sp.org/signed-note, c2sp.org/tlog-cosignature)
HASH, TIME = 4, 8  # bytes of a key's hash and of a countersignature's time


class Wrong(Exception):
    """A check that fails, in words."""


class Missing(Exception):
    """A file that is not there, or cannot be read."""


class Key(NamedTuple):
    """A key of a ledger or of a countersigner."""

    name: str
    hash: bytes
    kind: int
    raw: bytes


def main(arguments: list[str]) -> int:
    """Check a folder.

    Args:
        arguments: of the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description="Check a certificate of erasure.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", type=Path, help="the operator's public key (PEM), got by another way")
    parser.add_argument("--ledger-keys", type=Path, help="keys of ledger and countersigners, got by another way")
    given = parser.parse_args(arguments)
    try:
        failed = False
        for line, fine in checks(given.folder, given.key, given.ledger_keys):
            print(f"{'ok  ' if fine else 'FAIL'} {line}")
            failed = failed or not fine
    except Missing as error:
        print(f"MISSING {error}")
        return 2
    print("What it does not prove: that no other copy of the weights, the data or the ledger is in use.")
    return 1 if failed else 0


def checks(folder: Path, key: Path | None, ledger_keys: Path | None) -> Iterator[tuple[str, bool]]:
    """Make all checks.

    Args:
        folder: with certificate and weights.
        key: of the operator; by default the one in the folder.
        ledger_keys: of the ledger; by default those in the folder, else those in the certificate.

    Yields:
        One line for each, and whether it holds.

    Raises:
        Missing: if a file is not there.
    """
    path, keys = folder / "certificate.json", ledger_keys or folder / "ledger.keys"
    pem, envelope = read(key or folder / "certificate.pub.pem"), read(path)
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise Missing(f"{folder} has no weights (*.safetensors)")
    lines = read(keys).decode("utf-8", "replace").splitlines() if ledger_keys or keys.exists() else None
    try:
        predicate = certified(envelope, pem)
    except Wrong as error:
        yield f"certificate: {error}", False
        return
    yield f"certificate: signed by {key or 'the key in the folder'}; {told(predicate)}", True
    try:
        for file in weights:
            yield same_file(file, folder, predicate["weights"]["unlearned"])
        yield declared(predicate["protocol"])
        record = predicate.get("ledger")
        if record is None:
            yield "ledger: the certificate has no entry in a ledger", lines is None
            return
        yield in_ledger("ledger", record, predicate, lines)
        later = path.with_suffix(".ledger.json")
        if later.exists():
            newer = parsed(read(later))
            same = (newer.get("entry"), newer.get("index")) == (record["entry"], record["index"])
            other = (f"newer proof: {later.name} is of another entry", False)
            yield in_ledger("newer proof", newer, predicate, lines) if same else other
    except (Wrong, KeyError, TypeError, AttributeError) as error:
        yield f"certificate: it lacks a field, or one is damaged ({error})", False


def read(path: Path) -> bytes:
    """Return a file's bytes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Missing(f"{path}: {error.strerror}") from error


def parsed(content: bytes) -> dict[str, Any]:
    """Return the object that JSON spells."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise Wrong("it is no JSON; it was changed or cut off") from error
    if not isinstance(value, dict):
        raise Wrong("it is no object of JSON")
    return value


def decoded(text: object) -> bytes:
    """Return what base64 in its only spelling says."""
    try:
        content = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Wrong("it is no base64") from error
    if base64.b64encode(content).decode() != text:
        raise Wrong("it is no canonical base64")
    return content


def certified(envelope: bytes, pem: bytes) -> dict[str, Any]:
    """Return the predicate of a certificate whose signature fits (DSSE v1)."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Wrong("the public key is no PEM") from error
    content = parsed(envelope)
    payload, signatures = decoded(content.get("payload")), content.get("signatures")
    if content.get("payloadType") != PAYLOAD_TYPE or not isinstance(key, Ed25519PublicKey):
        raise Wrong("it is no in-toto Statement, or the key is no Ed25519 key")
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    entries = [entry for entry in signatures if isinstance(entry, dict)] if isinstance(signatures, list) else []
    if not any(fits(key, decoded(entry.get("sig")), signed) for entry in entries):
        raise Wrong("the signature does not fit: it was changed, or another key signed it")
    statement = parsed(payload)
    try:
        (subject,) = statement["subject"]
        predicate: dict[str, Any] = statement["predicate"]
        if subject["digest"]["sha256"] != predicate["weights"]["unlearned"]:
            raise Wrong("it contradicts itself: it is about another file than the weights it names")
    except (KeyError, TypeError, ValueError) as error:
        raise Wrong("its content is no statement of an erasure") from error
    return predicate


def fits(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    """Return whether a signature is the key's."""
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def told(predicate: dict[str, Any]) -> str:
    """Return what a certificate says, in a line."""
    try:
        request, verification = predicate["request"], predicate["verification"]
        return f"request {request['id']}: {verification['verdict']} (basis: {verification['basis']})"
    except (KeyError, TypeError):
        return "it lacks request or verdict"


def same_file(path: Path, folder: Path, wanted: str) -> tuple[str, bool]:
    """Compare a file's SHA-256 with the certified one."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Missing(f"{path}: {error.strerror}") from error
    return f"weights: {path.relative_to(folder)} has SHA-256 {digest}, certified is {wanted}", digest == wanted


def declared(protocol: dict[str, Any]) -> tuple[str, bool]:
    """Compare the protocol with the digest that it was declared with before unlearning."""
    fields = {name: value for name, value in protocol.items() if name != "digest"}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return "protocol: the one declared before unlearning", digest == protocol["digest"]


def in_ledger(
    what: str, record: dict[str, Any], predicate: dict[str, Any], lines: list[str] | None
) -> tuple[str, bool]:
    """Check a proof that the verdict is in a ledger whose checkpoint is signed."""
    try:
        keys = [parsed_key(line) for line in (record["keys"] if lines is None else lines)
                if line.strip() and not line.startswith("#")]  # fmt: skip
        if not keys or keys[0].kind != NOTE:
            raise Wrong("there is no key of a ledger")
        text, signatures = note_parts(record["checkpoint"])
        origin, size, root = (text.split("\n") + ["", ""])[:3]
        if origin != keys[0].name or signed_by(keys[0], text, signatures) is None:
            raise Wrong("the checkpoint is not signed by the ledger's key, or it was changed")
        if (size, decoded(root).hex()) != (str(record["size"]), record["root"]):
            raise Wrong("the checkpoint is about another size or root")
        if root_above(record) != decoded(root):
            raise Wrong("the entry is not in the ledger that the checkpoint signs")
        body = parsed(record["entry"].partition("\n")[2].encode())
        entered = (body["event"], body["facts"]["weights"], body["facts"]["verdict"])
        if entered != ("verified", predicate["weights"]["unlearned"], predicate["verification"]["verdict"]):
            raise Wrong("the entry tells another verdict or other weights")
        count = countersigned(keys, text, signatures)
    except Wrong as error:
        return f"{what}: {error}", False
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"{what}: it is damaged ({error})", False
    whose = "published keys" if lines is not None else "keys from the certificate itself"
    place = f"entry {record['index']:,} of {record['size']:,} in {origin}, {body['at']}"
    return f"{what}: {place}; countersigned by {count} ({whose})", True


def root_above(record: dict[str, Any]) -> bytes | None:
    """Return the root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    node, last = int(record["index"]), int(record["size"]) - 1
    if not 0 <= node <= last:
        return None
    hashed = hashlib.sha256(b"\0" + record["entry"].encode()).digest()
    for line in record["path"]:
        other = bytes.fromhex(line)
        if last == 0:
            return None
        if node % 2 or node == last:
            hashed = hashlib.sha256(b"\1" + other + hashed).digest()
            while node % 2 == 0 and node:
                node, last = node // 2, last // 2
        else:
            hashed = hashlib.sha256(b"\1" + hashed + other).digest()
        node, last = node // 2, last // 2
    return hashed if last == 0 else None


def parsed_key(line: str) -> Key:
    """Return the key that a line spells: NAME+HASH+KEY."""
    name, _, rest = line.strip().partition("+")
    digits, _, typed = rest.partition("+")
    content = decoded(typed)
    digest = hashlib.sha256(name.encode() + b"\n" + content).digest()[:HASH]
    if len(content) != 33 or digest.hex() != digits:
        raise Wrong(f"the key {name[:60]} is damaged")
    return Key(name, digest, content[0], content[1:])


def note_parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a signed note's text, and names and contents of its signatures."""
    text, separator, lines = note.rpartition("\n\n")
    if not separator:
        raise Wrong("the checkpoint is no signed note")
    parts = [line.split(" ") for line in lines.splitlines()]
    if any(len(part) != 3 or part[0] != "\N{EM DASH}" for part in parts):
        raise Wrong("the checkpoint has a line that is no signature")
    return text + "\n", [(name, decoded(content)) for _, name, content in parts]


def signed_by(key: Key, text: str, signatures: list[tuple[str, bytes]]) -> bytes | None:
    """Return a key's valid signature on a text; None where there is none."""
    for name, content in signatures:
        if name == key.name and content[:HASH] == key.hash:
            signed, signature = text.encode(), content[HASH:]
            if key.kind == COUNTERSIGNATURE:
                time, signature = int.from_bytes(signature[:TIME], "big"), signature[TIME:]
                signed = f"cosignature/v1\ntime {time}\n{text}".encode()
            if not fits(Ed25519PublicKey.from_public_bytes(key.raw), signature, signed):
                raise Wrong(f"the signature of {key.name} does not fit: the checkpoint was changed")
            return signature
    return None


def countersigned(keys: list[Key], text: str, signatures: list[tuple[str, bytes]]) -> int:
    """Return how many different keys, other than the ledger's, have countersigned."""
    found = {key.raw for key in keys[1:] if key.kind == COUNTERSIGNATURE and signed_by(key, text, signatures)}
    return len(found - {keys[0].raw})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
