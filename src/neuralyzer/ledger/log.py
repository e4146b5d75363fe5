"""``Ledger``: the record of every event of every case, as all others use it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuralyzer.errors import LedgerError, StorageError
from neuralyzer.ledger import kept_checkpoints, subject_keys, tree
from neuralyzer.ledger.check import Fault, check
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.events import SEALED, Event, Facts, body, same_event
from neuralyzer.ledger.notes import Key
from neuralyzer.ledger.proof import Proof, countersignatures
from neuralyzer.ledger.store import Entry, Store
from neuralyzer.ledger.subject_keys import Subjects
from neuralyzer.workspace.atomic import make_folder
from neuralyzer.workspace.moments import now
from neuralyzer.workspace.paths import Workspace

FILE = "ledger.sqlite"  # in the workspace
OCCURRENCES = 8  # of each event of a case that are looked up at once


@dataclass(frozen=True)
class Record:
    """An event to record.

    Attributes:
        event: what happened.
        case: id of the case; it is not kept in clear.
        subjects: of the case.
        facts: what is told of it.
        occurrence: 0 for the case's first event of this kind, 1 for its second, and so on.
        at: when it happened, ISO 8601; None for now.
    """

    event: Event
    case: str
    subjects: Subjects
    facts: Facts = field(default_factory=Facts)
    occurrence: int = 0
    at: str | None = None

    def entry(self) -> Entry:
        """Return the entry that records it."""
        tag = self.subjects.tag(self.case, self.event, self.occurrence)
        told = self.facts.told()
        told |= {name: self.subjects.sealed(name, told[name]) for name in SEALED if name in told}
        at = self.at or now()
        return Entry(tag, body(self.event, at, told, self.subjects.marks(tag)))


@dataclass(frozen=True)
class Recorded:
    """An entry of the ledger.

    Attributes:
        position: in the ledger.
        tag: stands for the event of the case.
        event: what happened.
        at: when, ISO 8601.
        facts: what is told of it.
    """

    position: int
    tag: str
    event: str
    at: str
    facts: dict[str, str]

    @classmethod
    def of(cls, position: int, entry: Entry) -> "Recorded":
        """Read an entry.

        Returns:
            What it tells.

        Raises:
            LedgerError: if it was changed so that it tells nothing.
        """
        try:
            told = json.loads(entry.body)
            return cls(position, entry.key, str(told["event"]), str(told["at"]), dict(told["facts"]))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"entry {position:,} of the ledger cannot be read; check the ledger") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return {"position": self.position, "event": self.event, "at": self.at, "facts": self.facts, "tag": self.tag}


class Ledger:
    """The ledger of a workspace.

    Args:
        workspace: has the keys and the checkpoints.
        store: has the entries.
    """

    def __init__(self, workspace: Workspace, store: Store) -> None:
        self.workspace, self.store = workspace, store

    @classmethod
    def of(cls, workspace: Workspace, url: str | None = None) -> "Ledger":
        """Open a workspace's ledger, and make it on first use.

        Args:
            workspace: has the keys and the checkpoints.
            url: of its database, as ``Store`` takes it; by default a file in the workspace.

        Returns:
            The ledger.

        Raises:
            UsageError: if ``url`` is no URL of a database that can be used.
            StorageError: if the database cannot be reached.
        """
        if url is None:
            path = workspace.root / FILE
            try:
                make_folder(workspace.root)
                path.touch(mode=0o600)  # what SQLite puts beside it has the same mode
                url = f"sqlite:///{path}"
            except OSError as error:
                raise StorageError(f"cannot write {workspace.root}: {error.strerror}") from error
        return cls(workspace, Store(url))

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.store)

    def begin(self, case: str, names: Sequence[str]) -> Subjects:
        """Return a case's subjects; the labels of their keys are kept in its folder, see ``subject_keys.begin``."""
        return subject_keys.begin(self.workspace, case, names)

    def record(
        self,
        event: Event,
        case: str,
        facts: Facts | None = None,
        *,
        subjects: Subjects | None = None,
        occurrence: int = 0,
        at: str | None = None,
    ) -> int:
        """Record an event; one that is told again is not recorded again, whatever the time is then.

        Args:
            event: what happened.
            case: id of the case.
            facts: what is told of it.
            subjects: of the case; by default as ``begin`` kept them.
            occurrence: 0 for the case's first event of this kind, 1 for its second, and so on.
            at: when it happened, ISO 8601; by default now.

        Returns:
            The position of the entry.

        Raises:
            LedgerError: if the event is recorded with other facts, the case has no subjects, or the key of one of them
                was erased.
        """
        known = subjects or subject_keys.of_case(self.workspace, case)
        return self.record_many([Record(event, case, known, facts or Facts(), occurrence, at)])[0]

    def record_many(self, records: Sequence[Record]) -> list[int]:
        """Record events in one transaction, in order.

        Returns:
            The positions of their entries.

        Raises:
            LedgerError: as ``record``.
        """
        return self.store.append([record.entry() for record in records], same_event)

    def entries_of(self, case: str, subjects: Subjects | None = None) -> list[Recorded]:
        """Return a case's entries, which only the keys of its subjects find.

        Args:
            case: id of the case.
            subjects: of the case; by default as ``begin`` kept them.

        Returns:
            Its entries in order.

        Raises:
            LedgerError: if the case has no subjects, or the key of one of them was erased.
        """
        known = subjects or subject_keys.of_case(self.workspace, case)
        found: list[Recorded] = []
        events, first = list(Event), 0
        while events:
            tags = {known.tag(case, event, first + more): event for event in events for more in range(OCCURRENCES)}
            now = [Recorded.of(position, entry) for position, entry in self.store.find(list(tags)).values()]
            events = sorted({tags[one.tag] for one in now})
            found, first = found + now, first + OCCURRENCES
        return sorted(found, key=lambda one: one.position)

    def entries_about(self, name: str) -> Iterator[Recorded]:
        """Yield all entries about a subject in order; none once the subject's key was erased.

        The whole ledger is read, so that an entry is found whatever happened to the folders of cases.
        """
        key = subject_keys.key_of(self.workspace, name)
        if key is None:
            return
        for position, content in self.store.entries():
            entry = Entry.parse(content)
            if subject_keys.mark(key, entry.key).encode() in entry.body:
                yield Recorded.of(position, entry)

    def public_keys(self) -> list[Key]:
        """Return the key that signs checkpoints, and the keys of those who may countersign them."""
        return [kept_checkpoints.own_key(self.workspace), *kept_checkpoints.countersigners(self.workspace)]

    def checkpoint(self) -> Path:
        """Sign the present size and root, and keep them in the workspace.

        Returns:
            The file of the signed note. Where there is one of this size already, it is that.

        Raises:
            LedgerError: if the ledger does not continue the last checkpoint kept.
        """
        size = len(self)
        for known in kept_checkpoints.kept(self.workspace)[-1:]:
            last = kept_checkpoints.read(known, self.public_keys()[:1])
            if last.size > size or tree.root(last.size, self.store.hashes) != last.root:
                raise LedgerError(f"the ledger is not the one of {known.name}: nothing is signed; check the ledger")
        return kept_checkpoints.sign(self.workspace, size, tree.root(size, self.store.hashes))

    def consistency(self, earlier: Checkpoint, later: Checkpoint) -> list[bytes]:
        """Return the proof that one checkpoint continues another (RFC 9162, section 2.1.4).

        Raises:
            LedgerError: if ``later`` is the smaller one, or the ledger has not so many entries.
        """
        return tree.consistency_proof(earlier.size, later.size, self.store.hashes)

    def proof(self, position: int, note: Path | None = None) -> Proof:
        """Return the proof that an entry is in the ledger.

        Args:
            position: of the entry.
            note: the file of a checkpoint; by default one of the present size, which is signed if there is none.

        Returns:
            The proof.

        Raises:
            LedgerError: if there is no such entry in a ledger of that size.
            UnreadableError: if the checkpoint cannot be read.
        """
        path = note or self.checkpoint()
        keys = self.public_keys()
        known = kept_checkpoints.read(path, keys[:1])
        way = tree.inclusion_proof(position, known.size, self.store.hashes)
        return Proof(
            self.store.entry(position).content.decode(), position, known.size, known.root.hex(),
            [one.hex() for one in way], path.read_text(), [str(key) for key in keys],
        )  # fmt: skip

    def best_checkpoint(self, position: int) -> Path:
        """Return the kept checkpoint over an entry that most have countersigned, of several the newest.

        Args:
            position: of the entry.

        Returns:
            Its file; a new one where none that is kept counts the entry.

        Raises:
            LedgerError: if a checkpoint that is kept was changed.
        """
        own, *others = self.public_keys()
        over = [
            path for path in kept_checkpoints.kept(self.workspace) if kept_checkpoints.read(path, [own]).size > position
        ]
        ranked = [(len(countersignatures(path.read_text(), own, others)), path.name, path) for path in over]
        return max(ranked)[2] if ranked else self.checkpoint()

    def check(self, against: Sequence[Path] = ()) -> list[Fault]:
        """Compare the whole ledger with its hashes, with the checkpoints kept, and with others.

        Args:
            against: files of checkpoints that were kept elsewhere.

        Returns:
            Faults in the order of their entries; none if all is as it was.

        Raises:
            LedgerError: if a checkpoint is not one of this ledger's.
            UnreadableError: if a checkpoint cannot be read.
        """
        paths = [*kept_checkpoints.kept(self.workspace), *against]
        known = {kept_checkpoints.read(path, self.public_keys()[:1]) for path in paths}
        return check(self.store, list(known))
