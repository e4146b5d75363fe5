"""Countersignatures: a second person vouches that a ledger continues what they saw of it before."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import notes, tree
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.kept_checkpoints import SUFFIX
from neuralyzer.ledger.notes import COUNTERSIGNATURE, Key
from neuralyzer.workspace import signing_keys
from neuralyzer.workspace.atomic import read_json


def countersign(
    note: str, ledger: Key, key: Ed25519PrivateKey, time: int, last: str | None, proof: Sequence[bytes]
) -> str:
    """Countersign a checkpoint, if it continues the last one that was countersigned.

    Args:
        note: the checkpoint.
        ledger: public key of the ledger.
        key: of the person who countersigns.
        time: in Unix seconds.
        last: the note that was countersigned last; None for the first time.
        proof: that it continues ``last``, as ``Ledger.consistency`` makes it.

    Returns:
        The note with one more signature.

    Raises:
        LedgerError: if it does not continue the last one, or was not signed by the ledger, or one key would vouch for
            itself.
    """
    own = countersigning_key(key)
    if own.public.public_bytes_raw() == ledger.public.public_bytes_raw():
        raise LedgerError("the ledger's own key cannot countersign: another person's key is needed")
    now = _verified(note, ledger)
    if last is not None:
        before = _verified(last, ledger)
        if not tree.is_consistent(before.size, before.root, now.size, now.root, proof):
            raise LedgerError(
                f"the checkpoint of {now.size:,} entries does not continue the one of {before.size:,} that you "
                "countersigned: entries were changed, removed or reordered; nothing was signed"
            )
    if notes.verify(note, [own])[1]:
        return note
    return notes.countersign(note, own.name, key, time)


def read_path(file: Path) -> list[bytes]:
    """Read a proof that one checkpoint continues another, as ``ledger consistency --json`` prints it.

    Returns:
        The hashes of the proof.

    Raises:
        LedgerError: if it is no such proof.
        UnreadableError: if it cannot be read.
    """
    try:
        return [bytes.fromhex(line) for line in read_json(file)["path"]]
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(f"{file} is no proof that 'neuralyzer ledger consistency --json' printed") from error


def countersigning_key(key: Ed25519PrivateKey) -> Key:
    """Return the public key of someone who countersigns; the name is made from it."""
    public = key.public_key()
    return Key(f"neuralyzer.dev/countersigner/{signing_keys.key_id(public)[:16]}", public, COUNTERSIGNATURE)


def last_countersigned(key: Path, ledger: Key) -> Path:
    """Return the file, beside a countersigner's key, of the checkpoint of a ledger that it countersigned last."""
    return key.with_name(f"{key.stem}.{hashlib.sha256(str(ledger).encode()).hexdigest()[:16]}.last{SUFFIX}")


def _verified(note: str, ledger: Key) -> Checkpoint:
    text, signed = notes.verify(note, [ledger])
    checkpoint = Checkpoint.parse(text)
    if not signed or checkpoint.origin != ledger.name:
        raise LedgerError(f"the checkpoint is not signed by the key of the ledger {ledger.name}")
    return checkpoint
