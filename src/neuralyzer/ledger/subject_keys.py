"""The keys by which entries belong to subjects: one a subject, in a file of its own that can be erased.

Entries name nobody. What links an entry to a subject is computed with the subject's key; once the file is deleted,
nobody can compute it, and the entry and all proofs stay as they are.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from neuralyzer.errors import LedgerError, StorageError
from neuralyzer.workspace import atomic, commitments
from neuralyzer.workspace.paths import Workspace

if TYPE_CHECKING:
    from neuralyzer.data.request import ErasureRequest

FOLDER, SUFFIX = "subjects", ".key"
BYTES = 32  # of a key
KEPT = "ledger.json"  # labels of a case's subjects, in its folder


@dataclass(frozen=True)
class Subjects:
    """Those whom a case is about, known by labels: a label is the name of a key's file and names nobody.

    Attributes:
        folder: of the keys.
        labels: sorted.
    """

    folder: Path
    labels: tuple[str, ...]

    @classmethod
    def of(cls, workspace: Workspace, names: Iterable[str]) -> "Subjects":
        """Return some subjects; their keys are made on first use.

        Args:
            workspace: has the keys.
            names: of the subjects, or the criteria that stand for them, see ``names_in``.

        Returns:
            The subjects.

        Raises:
            CertificateError: if a key cannot be read.
            StorageError: if a key cannot be written.
        """
        labels = tuple(sorted({label(workspace, name) for name in names}))
        own = cls(folder_of(workspace), labels)
        for one in labels:
            commitments.first_use(own.path(one), lambda: secrets.token_bytes(BYTES))
        return own

    def path(self, label: str) -> Path:
        """Return the file of a key."""
        return self.folder / f"{label}{SUFFIX}"

    @property
    def erased(self) -> bool:
        """Whether a key is missing."""
        return not all(self.path(one).exists() for one in self.labels)

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of all labels.

        Raises:
            LedgerError: if one was erased, or is damaged.
        """
        found = []
        for one in self.labels:
            path = self.path(one)
            if not path.exists():
                raise LedgerError(
                    f"the key {path.name} of a subject of this case was erased; its entries stay unlinked"
                )
            found.append(commitments.first_use(path, lambda: b""))
            if len(found[-1]) != BYTES:
                raise LedgerError(f"{path} has {len(found[-1])} bytes where a subject's key has {BYTES}; restore it")
        return tuple(found)

    @cached_property
    def key(self) -> bytes:
        """The common key of these subjects. All of their keys are needed to compute it."""
        return keyed(b"neuralyzer subjects", b"".join(sorted(self.keys)))

    def tag(self, case: str, event: str, occurrence: int) -> str:
        """Return what stands for one event of a case: 64 hexadecimal digits that differ in every entry."""
        return keyed(self.key, _message("event", case, event, occurrence)).hex()

    def sealed(self, field: str, text: str) -> str:
        """Return what stands for a text of a case that can be guessed, such as a name or the digest of a short file."""
        return keyed(self.key, _message("field", field, text)).hex()

    def marks(self, tag: str) -> list[str]:
        """Return one mark for each subject, by which the holder of their key finds the entry with this tag."""
        return sorted(mark(key, tag) for key in self.keys)


def mark(key: bytes, tag: str) -> str:
    """Return a subject's mark on the entry with a tag: 64 hexadecimal digits."""
    return keyed(key, _message("subject", tag)).hex()


def names_in(request: "ErasureRequest") -> list[str]:
    """Return the names of a request's subjects; where it names none, one text of its rows, classes and predicate."""
    if request.subjects:
        return list(request.subjects)
    criteria = {"rows": sorted(request.rows), "classes": sorted(request.classes), "where": request.where}
    return [json.dumps(criteria, sort_keys=True)]


def label(workspace: Workspace, name: str) -> str:
    """Return the name of a subject's key file; the workspace's key is needed to compute it.

    Returns:
        64 hexadecimal digits.

    Raises:
        CertificateError: if the workspace's key cannot be read.
    """
    return keyed(commitments.key(workspace), _message("subject key", name)).hex()


def key_of(workspace: Workspace, name: str) -> bytes | None:
    """Return a subject's key; None where there is none, or it was erased.

    Raises:
        LedgerError: if it is damaged.
    """
    own = Subjects(folder_of(workspace), (label(workspace, name),))
    return own.keys[0] if own.path(own.labels[0]).exists() else None


def erase(workspace: Workspace, names: Sequence[str]) -> int:
    """Delete the keys of subjects, whose entries nobody can link to them from then on.

    A case that is still open cannot be recorded any further afterwards: close it first. A copy of the key in a backup
    links the entries again.

    Args:
        workspace: has the keys.
        names: of the subjects.

    Returns:
        How many keys there were.

    Raises:
        StorageError: if a file cannot be deleted.
    """
    erased = 0
    for name in names:
        path = folder_of(workspace) / f"{label(workspace, name)}{SUFFIX}"
        try:
            size = path.stat().st_size
            with path.open("r+b") as file:  # a file system that writes in place keeps no copy of it
                file.write(bytes(size))
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"cannot delete the key {path}: {error.strerror}") from error
        erased += 1
    return erased


def begin(workspace: Workspace, case: str, names: Iterable[str]) -> Subjects:
    """Return a case's subjects, and keep their labels in its folder, where they outlast the names.

    Args:
        workspace: has the case and the keys.
        case: id of the case.
        names: of the subjects; not looked at where the case has its labels already.

    Returns:
        The subjects.

    Raises:
        CertificateError: if a key cannot be read.
        StorageError: if a key or the labels cannot be written.
    """
    path = _kept(workspace, case)
    if not path.exists():
        atomic.write_json(path, {"subjects": list(Subjects.of(workspace, names).labels)})
    return of_case(workspace, case)


def of_case(workspace: Workspace, case: str) -> Subjects:
    """Return the subjects of a case that ``begin`` has seen.

    Raises:
        LedgerError: if it has not.
    """
    path = _kept(workspace, case)
    if not path.exists():
        raise LedgerError(f"the ledger does not know the case {case}: nothing of it was recorded")
    return Subjects(folder_of(workspace), tuple(atomic.read_json(path)["subjects"]))


def cases(workspace: Workspace) -> list[str]:
    """Return the ids of all cases that ``begin`` has seen and whose folders are still there."""
    return sorted(path.parent.name for path in workspace.cases.glob(f"*/{KEPT}"))


def folder_of(workspace: Workspace) -> Path:
    """Return the folder of subjects' keys."""
    return workspace.keys / FOLDER


def keyed(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA256 (RFC 2104) of a message."""
    return hmac.digest(key, message, "sha256")


def _kept(workspace: Workspace, case: str) -> Path:
    return workspace.cases / case / KEPT


def _message(purpose: str, *parts: str | int) -> bytes:
    """Return what is keyed: no two purposes, and no two lists of parts, give the same bytes."""
    return json.dumps([f"neuralyzer {purpose}", *parts]).encode()
