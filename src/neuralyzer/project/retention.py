"""What is kept for a while and then deleted: weights of earlier versions, old versions of data, checkpoints."""

import datetime as dt
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from neuralyzer.errors import StorageError
from neuralyzer.workspace import atomic

FILE = "retention.json"  # in the workspace


@dataclass(frozen=True)
class Kept:
    """A file that is to be deleted.

    Attributes:
        path: of the file; relative to the project where it is inside.
        what: it is, in words.
        until: last day on which it is kept, ISO 8601; None while no end was set.
    """

    path: str
    what: str
    until: str | None


def kept(place: Path) -> list[Kept]:
    """Return what a workspace keeps, in the order of the days.

    Args:
        place: folder of the workspace.

    Raises:
        UnreadableError: if the list is damaged.
    """
    path = place / FILE
    entries = [Kept(**entry) for entry in atomic.read_json(path)] if path.exists() else []
    return sorted(entries, key=lambda entry: (entry.until is None, entry.until, entry.path))


def keep(place: Path, files: Iterable[Path], what: str, days: float | None, today: dt.date) -> list[Kept]:
    """Write down that files are kept for some days and then deleted.

    Args:
        place: folder of the workspace.
        files: to delete then; those on the list keep their day.
        what: they are, in words.
        days: from today on; None where no end is set.
        today: the present day.

    Returns:
        What was added.
    """
    until = None if days is None else (today + dt.timedelta(days=days)).isoformat()
    known, root = kept(place), place.parent
    names = {entry.path for entry in known}
    new = [Kept(name, what, until) for name in dict.fromkeys(_name(file, root) for file in files) if name not in names]
    if new:
        atomic.write_json(place / FILE, [asdict(entry) for entry in [*known, *new]])
    return new


def spare(place: Path, files: Iterable[Path]) -> None:
    """Take files off the list, since they are in use again."""
    names = {_name(file, place.parent) for file in files}
    if any(entry.path in names for entry in kept(place)):
        atomic.write_json(place / FILE, [asdict(entry) for entry in kept(place) if entry.path not in names])


def destroy(place: Path, today: dt.date, in_use: Iterable[Path] = ()) -> list[Kept]:
    """Delete the files whose time is over.

    Args:
        place: folder of the workspace.
        today: the present day.
        in_use: files that are not deleted in any case.

    Returns:
        What was deleted, or had been.

    Raises:
        StorageError: if a file cannot be deleted.
    """
    used, day = {_name(file, place.parent) for file in in_use}, today.isoformat()
    over = [entry for entry in kept(place) if entry.until and entry.until < day and entry.path not in used]
    for entry in over:
        path = place.parent / entry.path
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {path}: {error.strerror}; delete it by hand") from error
    if over:
        left = [asdict(entry) for entry in kept(place) if entry not in over]
        atomic.write_json(place / FILE, left)
    return over


def _name(file: Path, root: Path) -> str:
    file = file.absolute()
    return os.path.relpath(file, root) if file.is_relative_to(root) else str(file)
