"""A certificate's entry in the ledger, and the check that it is there."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from neuralyzer.certificates.controls import Record
from neuralyzer.errors import LedgerError
from neuralyzer.ledger.events import Event, Facts
from neuralyzer.ledger.notes import Key
from neuralyzer.ledger.proof import Proof, Proven, verify
from neuralyzer.workspace.atomic import read_json, write_json

if TYPE_CHECKING:
    from neuralyzer.ledger.log import Ledger


class LedgerRecord(Record):
    """The proof that the verdict was entered in the operator's ledger before it was certified."""

    entry: str = Field(description="the entry: a tag that only the subjects' keys link to anyone, then what it tells")
    index: int = Field(ge=0, description="position of the entry")
    size: int = Field(ge=1, description="how many entries the ledger had")
    root: str = Field(pattern=r"^[0-9a-f]{64}$", description="root of the tree over them (RFC 9162)")
    path: list[str] = Field(description="hashes that lead from the entry to the root")
    checkpoint: str = Field(
        description="size and root, signed by the ledger's key and by who countersigned (C2SP note)"
    )
    keys: list[str] = Field(min_length=1, description="the ledger's key, then those of who may countersign (C2SP keys)")


def record_verified(ledger: "Ledger", case: str, names: Sequence[str], facts: Facts) -> LedgerRecord:
    """Enter a verdict in the ledger, and return the proof that it is there.

    Args:
        ledger: gets the entry; a checkpoint is signed over it.
        case: id of the case.
        names: of its subjects, see ``subject_keys.names_in``.
        facts: the weights and their verdict.

    Returns:
        The record for the certificate.

    Raises:
        LedgerError: if another verdict of this case was entered before, or the ledger was changed.
    """
    ledger.begin(case, names)
    return LedgerRecord(**ledger.proof(ledger.record(Event.VERIFIED, case, facts)).to_dict())


def check_record(record: LedgerRecord, weights: str, verdict: str, keys: Sequence[Key] | None) -> Proven:
    """Check that a certificate's entry is in the ledger and tells the same as the certificate.

    Args:
        record: of the certificate, or a later proof of the same entry.
        weights: SHA-256 of the weights certified.
        verdict: certified.
        keys: as ``ledger.proof.verify`` takes them.

    Returns:
        What is proven.

    Raises:
        LedgerError: if anything does not fit.
    """
    proven = verify(Proof(**record.model_dump()), keys)
    told = (proven.event, proven.facts.get("weights"), proven.facts.get("verdict"))
    if told != (Event.VERIFIED, weights, verdict):
        raise LedgerError("the entry in the ledger tells another verdict or other weights than the certificate")
    return proven


def proof_beside(path: Path) -> Path:
    """Return the file of a later proof: ``certificate.json`` may have ``certificate.ledger.json``."""
    return path.with_suffix(".ledger.json")


def write_later(ledger: "Ledger", record: LedgerRecord, certificate: Path) -> Path:
    """Write a proof of a certificate's entry by the checkpoint that most have countersigned.

    Args:
        ledger: has the entry.
        record: of the certificate.
        certificate: its file; the proof is written beside it.

    Returns:
        The file of the proof.

    Raises:
        LedgerError: if the ledger has not the entry any more.
    """
    proof = ledger.proof(record.index, ledger.best_checkpoint(record.index))
    if proof.entry != record.entry:
        raise LedgerError(f"entry {record.index:,} of the ledger is not the one certified; check the ledger")
    return write_json(proof_beside(certificate), proof.to_dict())


def read_later(certificate: Path, record: LedgerRecord) -> LedgerRecord | None:
    """Read the later proof beside a certificate, if there is one.

    Returns:
        The proof; None where there is none.

    Raises:
        LedgerError: if it is no proof of the certificate's entry.
        UnreadableError: if it cannot be read.
    """
    path = proof_beside(certificate)
    if not path.exists():
        return None
    try:
        later = LedgerRecord.model_validate_json(json.dumps(read_json(path)))
    except ValidationError as error:
        raise LedgerError(f"{path.name} is no proof of ours") from error
    if (later.entry, later.index) != (record.entry, record.index):
        raise LedgerError(f"{path.name} is about another entry than the certificate")
    return later
