"""Spot checks: an auditor's secret key chooses the cases that are run again, so that the operator cannot steer which.

The auditor tells the key's commitment before the next checkpoint is published, and the key after it. So neither can the
operator know which cases will be chosen, nor the auditor pick a key for the cases.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuralyzer.errors import LedgerError, UsageError
from neuralyzer.ledger import subject_keys
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.events import Event
from neuralyzer.ledger.log import Ledger, Recorded
from neuralyzer.ledger.store import Entry
from neuralyzer.ledger.subject_keys import keyed

BYTES = 32  # of an auditor's key


@dataclass(frozen=True)
class Chosen:
    """A case that was chosen.

    Attributes:
        entry: its verdict in the ledger.
        case: its id; None where the key of a subject was erased, or its folder is gone.
    """

    entry: Recorded
    case: str | None

    @property
    def command(self) -> str | None:
        """Return the command that runs the case again; None where it cannot be."""
        return None if self.case is None else f"neuralyzer certificate reproduce {self.case}"


def read_key(path: Path) -> bytes:
    """Read an auditor's key.

    Args:
        path: of a file with 32 random bytes.

    Returns:
        The key.

    Raises:
        UsageError: if it cannot be read, or has another length.
    """
    try:
        key = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the auditor's key {path}: {error.strerror}") from error
    if len(key) != BYTES:
        raise UsageError(
            f"{path} has {len(key)} bytes where an auditor's key has {BYTES}; 'neuralyzer ledger auditor-key'"
        )
    return key


def commitment(key: bytes) -> str:
    """Return what an auditor publishes beforehand: 64 hexadecimal digits that tell nothing of the key."""
    return hashlib.sha256(b"neuralyzer spot check\n" + key).hexdigest()


def order(key: bytes, checkpoint: Checkpoint, tag: str) -> bytes:
    """Return by what the entries of a checkpoint are sorted; the first ones are chosen."""
    return keyed(key, f"{checkpoint.text}\n{tag}".encode())


def choose(ledger: Ledger, checkpoint: Checkpoint, key: bytes, count: int) -> tuple[list[Chosen], int]:
    """Choose cases to run again.

    Args:
        ledger: has the verdicts.
        checkpoint: the verdicts entered before it count; published after the auditor's commitment.
        key: of the auditor.
        count: how many to choose.

    Returns:
        The chosen ones (all, where there are not more), and of how many.

    Raises:
        UsageError: if ``count`` is below 1.
        LedgerError: if the ledger is shorter than the checkpoint says.
    """
    if count < 1:
        raise UsageError(f"{count} cases cannot be chosen; choose 1 or more")
    if checkpoint.size > len(ledger):
        raise LedgerError(f"the ledger has fewer than the {checkpoint.size:,} entries of the checkpoint; check it")
    found = []
    for position, content in ledger.store.entries(0, checkpoint.size):
        entry = Recorded.of(position, Entry.parse(content))
        if entry.event == Event.VERIFIED:
            found.append(entry)
    chosen = sorted(found, key=lambda entry: order(key, checkpoint, entry.tag))[:count]
    known = _cases(ledger, [entry.tag for entry in chosen])
    return [Chosen(entry, known.get(entry.tag)) for entry in chosen], len(found)


def _cases(ledger: Ledger, tags: Sequence[str]) -> dict[str, str]:
    """Return the case of each tag, as far as its subjects' keys and its folder are there."""
    wanted, found = set(tags), dict[str, str]()
    for case in subject_keys.cases(ledger.workspace):
        subjects = subject_keys.of_case(ledger.workspace, case)
        if subjects.erased:
            continue
        found |= {entry.tag: case for entry in ledger.entries_of(case, subjects) if entry.tag in wanted}
        if len(found) == len(wanted):
            break
    return found
