"""What happens to versions and data of a project after its cases: rolled back, destroyed, purged; told to the ledger.

Each is an event of the cases that it concerns: of those whom a rollback brings back, of those whose rows were in the
weights that are destroyed, of those whose rows are deleted.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from neuralyzer.errors import LedgerError
from neuralyzer.ledger.events import Event, Facts, Reason
from neuralyzer.project import retention
from neuralyzer.project.lineage import Lineage, Version
from neuralyzer.project.project import Project
from neuralyzer.project.project_data import keyed_rows
from neuralyzer.project.purging import Source, purge
from neuralyzer.project.retention import Kept
from neuralyzer.workspace import digests
from neuralyzer.workspace.moments import now


def roll_back(project: Project, number: int, reason: str) -> Version:
    """Use an earlier version again, and tell the ledger of it.

    Args:
        project: of the model.
        number: of the version.
        reason: why, in a person's words; the ledger keeps a commitment to them.

    Returns:
        The version that was left.

    Raises:
        UsageError: if that version cannot be used.
    """
    place, lineage = project.workspace.root, project.lineage
    left, after = lineage.version, lineage.rolled_back(number, now())
    back = after.version
    retention.spare(place, [project.weights_of(back)])
    after.write(place)
    project.keep_for_a_while(left)
    undone = set(left.cases.values()) - set(back.cases.values())
    facts = {"weights": _digest(project, back), "before": _digest(project, left)}
    words = hashlib.sha256(reason.encode()).hexdigest()
    _tell(project, Event.ROLLED_BACK, undone, reason=Reason.OTHER, result=words, **facts)
    return left


def destroy_expired(project: Project, today: dt.date) -> list[Kept]:
    """Delete what was kept for a while and is over, and tell the ledger of weights that are gone.

    Args:
        project: of the model.
        today: the present day.

    Returns:
        What was deleted.
    """
    place, lineage = project.workspace.root, project.lineage
    weights = {version.number: _digest(project, version) for version in lineage.versions}
    over = retention.destroy(place, today, [project.weights_of(lineage.version)])
    gone = {project.root / entry.path for entry in over}
    for version in lineage.versions:
        present = version.destroyed is None and version.number != lineage.current
        if present and project.weights_of(version) in gone:
            lineage = lineage.destroyed(version.number, now())
            lineage.write(place)
            freed = _freed_from(lineage, version)
            _tell(project, Event.DESTROYED, freed, reason=Reason.RETENTION, before=weights[version.number])
    return over


def erased_rows(project: Project) -> int:
    """Return how many of the training rows in the file were erased from a version of the model."""
    erased = {digest for version in project.lineage.versions for digest in version.erased}
    return sum(digest in erased for digest in keyed_rows(project.data)) if erased else 0


def purge_and_tell(project: Project, sources: Sequence[Source], days: float | None, today: dt.date) -> list[Kept]:
    """Delete rows from their sources, and tell the ledger of it.

    Args:
        project: of the model.
        sources: as ``purging.holding`` found them.
        days: how long old versions are kept.
        today: the present day.

    Returns:
        What is kept, and until when.
    """
    kept = purge(project, sources, days, today)
    if sources:
        until = None if days is None else (today + dt.timedelta(days=days)).isoformat()
        _tell(project, Event.PURGED, set(project.lineage.version.cases.values()), until=until)
    return kept


def _freed_from(lineage: Lineage, version: Version) -> set[str]:
    """Return the cases whose rows were in a version's weights: those answered by the next one."""
    following = [one for one in lineage.versions if one.number == version.number + 1]
    return {case for one in following for case in one.cases.values()} - set(version.cases.values())


def _digest(project: Project, version: Version) -> str | None:
    path = project.weights_of(version)
    return digests.of_file(path) if path.is_file() else None


def _tell(project: Project, event: Event, cases: Iterable[str], **facts: Any) -> None:
    """Record an event of each case, once more where there was one; a case that the ledger does not know is left out."""
    told = Facts(**{name: value for name, value in facts.items() if value is not None})
    for case in sorted(cases):
        try:
            known = project.ledger.entries_of(case)
        except LedgerError:  # answered before there was a ledger, or the subject's key was erased
            continue
        occurrence = sum(entry.event == event for entry in known)
        project.ledger.record(event, case, told, occurrence=occurrence)
