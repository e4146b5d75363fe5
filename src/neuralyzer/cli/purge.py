"""``neuralyzer purge``: deletes erased rows from the data."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile, Subject
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer purge --subject AIFinn --yes"

Yes = Annotated[bool, typer.Option("--yes", help="Delete; without it only what would be deleted is shown.")]


def run(subject: Subject = None, yes: Yes = False, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Delete rows that are erased from the model from the data too; without --yes only show what would be deleted.

    Erased training rows are known without names. With --subject the holdout, the tables of [[data.also]] and those of
    [[data.databases]] are looked through as well. Old versions are kept for policy.retention_days. Backups, snapshots and
    copies elsewhere are not reached.
    """
    import datetime as dt

    from neuralyzer.project.project import Project
    from neuralyzer.project.purging import holding
    from neuralyzer.project.records import purge_and_tell

    opened = Project.read(project)
    with opened.locked():
        sources = holding(opened, subject or ())
        days, today = opened.retention_days, dt.datetime.now(dt.UTC).date()
        kept = purge_and_tell(opened, sources, days, today) if yes else []
    found = {
        "deleted": yes, "sources": [source.to_dict() for source in sources],
        "kept": [{"path": entry.path, "what": entry.what, "until": entry.until} for entry in kept],
        "retention_days": days,
    }  # fmt: skip
    answer(found, _lines(found), json)


def _lines(found: dict[str, object]) -> str:
    sources: list[dict[str, object]] = found["sources"]  # type: ignore[assignment]
    if not sources:
        return "no source holds a row to delete"
    verb = "deleted" if found["deleted"] else "would be deleted; call it again with --yes"
    lines = [f"{source['source']}: {source['to_delete']} of {source['rows']} rows {verb}" for source in sources]
    kept: list[dict[str, object]] = found["kept"]  # type: ignore[assignment]
    for entry in kept:
        until = f"until {entry['until']}" if entry["until"] else "until it is deleted by hand (policy.retention_days)"
        lines.append(f"kept {until}: {entry['path']} ({entry['what']})")
    return "\n".join(lines)
