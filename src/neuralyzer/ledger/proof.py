"""The proof that an entry is in a ledger: all that someone elsewhere needs to check it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import notes, tree
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.notes import COUNTERSIGNATURE, NOTE, Key, Signature


@dataclass(frozen=True)
class Proof:
    """An entry, its way up to the root, and the checkpoint that is signed with this root (RFC 9162, section 2.1.3).

    Attributes:
        entry: content of the entry: its tag in a line of its own, then its body in JSON.
        index: position of the entry.
        size: of the tree.
        root: of the tree, hexadecimal.
        path: hashes next to the way, hexadecimal, from the entry up.
        checkpoint: signed note over size and root.
        keys: those that may have signed it, in one line each; the first is the ledger's.
    """

    entry: str
    index: int
    size: int
    root: str
    path: list[str]
    checkpoint: str
    keys: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Proven:
    """An entry that a valid proof is about.

    Attributes:
        event: what happened.
        at: when, as the operator's clock had it, ISO 8601.
        facts: what is told of it.
        countersigned: those who countersigned the checkpoint, each once.
    """

    event: str
    at: str
    facts: dict[str, str]
    countersigned: list[Signature]


def verify(proof: Proof, keys: Sequence[Key] | None = None) -> Proven:
    """Check a proof.

    Args:
        proof: as ``Ledger.proof`` makes it.
        keys: the ledger's key and those of countersigners, got by another way than the proof, the ledger's first; by
            default the proof's own, which show that it is intact but not whose ledger it is.

    Returns:
        What is proven.

    Raises:
        LedgerError: if anything does not fit.
    """
    known = [Key.parse(line) for line in proof.keys] if keys is None else keys
    if not known or known[0].kind != NOTE:
        raise LedgerError("the proof names no key of a ledger")
    own, *others = known
    text, signed = notes.verify(proof.checkpoint, [own])
    checkpoint = Checkpoint.parse(text)
    if not signed or checkpoint.origin != own.name:
        raise LedgerError(f"the checkpoint is not signed by the key of the ledger {own.name}")
    if (checkpoint.size, checkpoint.root.hex()) != (proof.size, proof.root):
        raise LedgerError("the checkpoint is about another size or root of the ledger than the proof")
    leaf, path = tree.leaf_hash(proof.entry.encode()), [_hash(line) for line in proof.path]
    if tree.root_of_inclusion(proof.index, proof.size, leaf, path) != checkpoint.root:
        raise LedgerError("the entry is not in the ledger that the checkpoint signs, or it was changed")
    body = _body(proof.entry)
    return Proven(body["event"], body["at"], body["facts"], countersignatures(proof.checkpoint, own, others))


def countersignatures(note: str, own: Key, others: Sequence[Key]) -> list[Signature]:
    """Return who countersigned a checkpoint: each key once, and never the ledger's own under another name.

    Args:
        note: the checkpoint.
        own: the ledger's key.
        others: keys that may have countersigned.

    Returns:
        Valid countersignatures.

    Raises:
        LedgerError: if one of them does not fit.
    """
    known = {own.public.public_bytes_raw()}
    distinct = []
    for key in others:
        raw = key.public.public_bytes_raw()
        if key.kind == COUNTERSIGNATURE and raw not in known:
            known.add(raw)
            distinct.append(key)
    return notes.verify(note, distinct)[1]


def _hash(line: str) -> bytes:
    try:
        return bytes.fromhex(line)
    except ValueError as error:
        raise LedgerError("the proof's path is damaged: it is a list of hexadecimal hashes") from error


def _body(entry: str) -> dict[str, Any]:
    try:
        body = json.loads(entry.partition("\n")[2])
        return {"event": str(body["event"]), "at": str(body["at"]), "facts": dict(body["facts"])}
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError("the proof's entry is none of ours: it has no event, time and facts") from error
