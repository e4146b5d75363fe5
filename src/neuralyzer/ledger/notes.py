"""Signed notes: a text and the signatures of those who vouch for it, in the format of C2SP (c2sp.org/signed-note).

A key has a name, by which its signature line is found. A countersignature also says when it was made
(c2sp.org/tlog-cosignature).
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from neuralyzer.errors import LedgerError

DASH = "\N{EM DASH} "  # before every signature
NOTE, COUNTERSIGNATURE = 1, 4  # numbers of the two kinds of signature
HASH, TIME = 4, 8  # bytes of a key's hash and of a time


@dataclass(frozen=True)
class Key:
    """A named public key.

    Attributes:
        name: without spaces and plus signs.
        public: verifies.
        kind: of the signatures, ``NOTE`` or ``COUNTERSIGNATURE``.
    """

    name: str
    public: Ed25519PublicKey
    kind: int = NOTE

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(letter.isspace() for letter in self.name):
            raise LedgerError(f"{self.name!r} names no key: a name has no space and no plus sign, and is not empty")

    @property
    def hash(self) -> bytes:
        """The four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:HASH]

    def __str__(self) -> str:
        """Return the key in one line, as C2SP writes verifier keys."""
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(self._typed).decode()}"

    @classmethod
    def parse(cls, line: str) -> "Key":
        """Read a key that is written in one line.

        Returns:
            The key.

        Raises:
            LedgerError: if it is none.
        """
        name, _, rest = line.strip().partition("+")
        digits, _, typed = rest.partition("+")
        try:
            content = base64.b64decode(typed, validate=True)
            key = cls(name, Ed25519PublicKey.from_public_bytes(content[1:]), content[0])
        except (ValueError, IndexError) as error:
            raise LedgerError(f"{line.strip()!r} is no key; it is written NAME+HASH+KEY") from error
        if key.kind not in (NOTE, COUNTERSIGNATURE) or key.hash.hex() != digits:
            raise LedgerError(f"{line.strip()!r} is damaged: name, hash and key do not belong together")
        return key

    @property
    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)


@dataclass(frozen=True)
class Signature:
    """A valid signature.

    Attributes:
        name: of the key.
        time: in Unix seconds; None where it is no countersignature.
    """

    name: str
    time: int | None


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return a text as a note that one key has signed.

    Args:
        text: ends with a new line.
        name: of the key.
        key: signs.

    Returns:
        The note.

    Raises:
        LedgerError: if the text or the name does not fit the format.
    """
    if not text.endswith("\n") or any(ord(letter) < ord(" ") and letter != "\n" for letter in text):
        raise LedgerError("the text of a note ends with a new line, and has no other control characters")
    return f"{text}\n{_line(Key(name, key.public_key()), key.sign(text.encode()))}"


def countersign(note: str, name: str, key: Ed25519PrivateKey, time: int) -> str:
    """Return a note with one more signature, which says when it was made.

    Args:
        note: as ``sign`` makes it.
        name: of the key.
        key: signs.
        time: in Unix seconds.

    Returns:
        The note.

    Raises:
        LedgerError: if this is no note.
    """
    text, _ = parts(note)
    signature = key.sign(_timed(text, time))
    return note + _line(Key(name, key.public_key(), COUNTERSIGNATURE), time.to_bytes(TIME, "big") + signature)


def verify(note: str, keys: Iterable[Key]) -> tuple[str, list[Signature]]:
    """Return a note's text and which of some keys have signed it, each once.

    Args:
        note: as ``sign`` makes it.
        keys: that are trusted; lines of other keys are passed over.

    Returns:
        Text and signatures.

    Raises:
        LedgerError: if this is no note, or a line that names a trusted key is not its signature.
    """
    text, lines = parts(note)
    valid = []
    for key in {str(key): key for key in keys}.values():
        for name, content in lines:
            if name == key.name and content[:HASH] == key.hash:
                valid.append(_checked(text, key, content[HASH:]))
                break
    return text, valid


def parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Take a note apart.

    Returns:
        Its text, and the names and contents of its signature lines.

    Raises:
        LedgerError: if this is no note.
    """
    text, separator, signatures = note.rpartition("\n\n")
    lines = signatures.splitlines()
    if not separator or not text or not signatures.endswith("\n") or not lines:
        raise LedgerError("this is no signed note: it has no text and signatures with an empty line between them")
    found = []
    for line in lines:
        name, _, encoded = line.removeprefix(DASH).partition(" ")
        content = decoded(encoded)
        if not line.startswith(DASH) or not name or len(content) <= HASH:
            raise LedgerError(f"this is no signed note: {line[:60]!r} is no signature")
        found.append((name, content))
    return text + "\n", found


def decoded(text: str) -> bytes:
    """Return what base64 spells; nothing where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _checked(text: str, key: Key, content: bytes) -> Signature:
    time = None
    signed, signature = text.encode(), content
    if key.kind == COUNTERSIGNATURE:
        time, signature = int.from_bytes(content[:TIME], "big"), content[TIME:]
        signed = _timed(text, time)
    try:
        key.public.verify(signature, signed)
    except InvalidSignature as error:
        raise LedgerError(f"the signature of {key.name} does not fit: the note was changed after it") from error
    return Signature(key.name, time)


def _timed(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _line(key: Key, signature: bytes) -> str:
    return f"{DASH}{key.name} {base64.b64encode(key.hash + signature).decode()}\n"
