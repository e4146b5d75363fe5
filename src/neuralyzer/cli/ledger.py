"""``neuralyzer ledger``: the log of every event, which nobody can change unseen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

if TYPE_CHECKING:
    from neuralyzer.ledger.log import Ledger

Database = Annotated[
    str | None,
    typer.Option(
        "--database", help="URL of the ledger's database; by default that of [database], or a file in the workspace."
    ),
]
Against = Annotated[
    list[Path] | None, typer.Option("--against", help="A checkpoint that was kept elsewhere; repeat for several.")
]
To = Annotated[
    list[str] | None, typer.Option("--to", metavar="FILE|URL", help="Where the checkpoint goes; repeat for several.")
]
Timestamp = Annotated[
    str | None, typer.Option("--timestamp", metavar="URL", help="A time-stamp authority (RFC 3161) that dates it.")
]
Name = Annotated[list[str], typer.Option("--subject", metavar="NAME", help="A data subject; repeat for several.")]
File = Annotated[Path, typer.Argument(help="The certificate.")]

Anyway = Annotated[bool, typer.Option("--anyway", help="Although a case of theirs is not closed.")]

verbs = typer.Typer(help="Check, sign and read the log of every event.", rich_markup_mode=None)


@verbs.callback()
def _ledger() -> None:
    """Check, sign and read the log of every event."""


@verbs.command(epilog="Example: neuralyzer ledger check --against kept.checkpoint")
def check(
    against: Against = None, database: Database = None, project: ProjectFile = PROJECT, json: Json = False
) -> None:
    """Name every entry that was changed, removed, reordered or cut off. Exit 1 if there is one.

    Checkpoints that were kept elsewhere find what somebody who may write here could hide.
    """
    from neuralyzer.ledger import kept_checkpoints

    ledger = opened(project, database)
    faults = ledger.check(against or [])
    count, size = len(kept_checkpoints.kept(ledger.workspace)) + len(against or []), len(ledger)
    values = {
        "ok": not faults, "size": size, "checkpoints": count,
        "faults": [{"first": fault.first, "last": fault.last, "what": fault.what} for fault in faults],
    }  # fmt: skip
    good = f"{size:,} entries fit their hashes; checkpoints that fit: {count}"
    answer(values, "\n".join(map(str, faults)) or good, json)
    if faults:
        raise typer.Exit(1)


@verbs.command(epilog="Example: neuralyzer ledger checkpoint --to kept.checkpoint")
def checkpoint(
    to: To = None,
    timestamp: Timestamp = None,
    database: Database = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Sign the present state of the ledger, keep it, and send it where the operator cannot replace it."""
    from neuralyzer.ledger import kept_checkpoints, publishing

    ledger = opened(project, database)
    path = ledger.checkpoint()
    known = kept_checkpoints.read(path, ledger.public_keys()[:1])
    sent = [publishing.publish(path, place) for place in to or ()]
    stamp = None if timestamp is None else str(publishing.time_stamp(path, timestamp))
    values = {
        "file": str(path), "size": known.size, "root": known.root.hex(), "sent": sent, "timestamp": stamp,
        "key": str(ledger.public_keys()[0]),
    }  # fmt: skip
    lines = [f"checkpoint of {known.size:,} entries: {path}", *sent, *([f"time-stamp: {stamp}"] if stamp else [])]
    answer(values, "\n".join([*lines, f"key of the ledger: {values['key']}"]), json)


@verbs.command(epilog="Example: neuralyzer ledger show --subject AIFinn")
def show(subject: Name, database: Database = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Show all entries about a subject; none once its key was erased."""
    from rich.table import Table

    ledger = opened(project, database)
    found = {entry.position: entry for name in _known(project, subject) for entry in ledger.entries_about(name)}
    table = Table(box=None, pad_edge=False)
    for head in ("entry", "time", "event", "what is told"):
        table.add_column(head)
    for position, entry in sorted(found.items()):
        facts = ", ".join(f"{name} {value}" for name, value in entry.facts.items())
        table.add_row(f"{position:,}", entry.at, entry.event, facts)
    answer([found[position].to_dict() for position in sorted(found)], table if found else "no entries", json)


@verbs.command(epilog="Example: neuralyzer ledger prove certificate.json")
def prove(file: File, database: Database = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Write a newer proof of a certificate's entry beside it, by the checkpoint that most have countersigned."""
    from neuralyzer.certificates.check import check as check_certificate
    from neuralyzer.certificates.ledger_record import LedgerRecord, write_later
    from neuralyzer.errors import UsageError

    ledger, found = opened(project, database), check_certificate(file)
    if found.predicate is None or found.predicate["ledger"] is None:
        raise UsageError(f"{file} has no entry in a ledger")
    path = write_later(ledger, LedgerRecord(**found.predicate["ledger"]), file)
    answer({"file": str(path)}, f"wrote {path}", json)


@verbs.command(epilog="Example: neuralyzer ledger unlink --subject AIFinn")
def unlink(subject: Name, anyway: Anyway = False, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Delete a subject's key for good: nobody can link entries to them any more, and all proofs stay.

    Nothing more can be recorded about a case of theirs, so that it must be closed. Copies in backups are yours to delete.
    """
    from neuralyzer.errors import UsageError
    from neuralyzer.ledger import subject_keys
    from neuralyzer.project.standing import standing

    place, names = opened(project, None).workspace, _known(project, subject)
    labels = {subject_keys.label(place, name) for name in names}
    closed = {case["case"] for case in standing(project)["cases"] if case["state"] == "closed"}
    still = [
        case
        for case in subject_keys.cases(place)
        if case not in closed and labels & set(subject_keys.of_case(place, case).labels)
    ]
    if still and not anyway:
        raise UsageError(f"{still[0]} is not closed: nothing could be recorded about it any more; --anyway if so be it")
    count = subject_keys.erase(place, names)
    answer({"erased": count}, f"keys erased: {count}", json)


def _known(project: Path, subjects: list[str]) -> list[str]:
    """Return the names by which the project knows subjects."""
    from neuralyzer.data.request import ErasureRequest
    from neuralyzer.project.project import Project

    return list(Project.read(project).rows.known_by(ErasureRequest(subjects=subjects)).subjects)


def opened(project: Path, database: str | None) -> "Ledger":
    """Return the ledger of a project."""
    from neuralyzer.errors import UsageError
    from neuralyzer.ledger import kept_checkpoints
    from neuralyzer.ledger.log import FILE, Ledger
    from neuralyzer.project import project_file
    from neuralyzer.workspace.paths import Workspace

    database = database or project_file.read(project).get("database", {}).get("url")
    place = Workspace(project.absolute().parent / project_file.FOLDER)
    if database is None and not (place.root / FILE).exists() and not kept_checkpoints.kept(place):
        raise UsageError(f"there is no ledger in {place.root} yet; 'neuralyzer forget' begins it")
    return Ledger.of(place, database)
