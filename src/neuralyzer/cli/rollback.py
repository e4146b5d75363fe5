"""``neuralyzer rollback``: an earlier version of the model comes into use again."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer rollback 1 --reason 'version 2 answers nonsense'"

Number = Annotated[int, typer.Argument(metavar="VERSION", help="Number of the version; 0 is the original.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is part of the record.")]


def run(version: Number, reason: Why, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Use an earlier version again. Rows that were erased since are in the model once more, and must be erased anew."""
    from neuralyzer.errors import UsageError
    from neuralyzer.project import records
    from neuralyzer.project.project import Project

    opened = Project.read(project)
    if not reason.strip():
        raise UsageError("give a reason; it is part of the record")
    with opened.locked():
        left = records.roll_back(opened, version, reason)
        now = opened.lineage.version
    back = len(set(left.erased) - set(now.erased))
    again = sorted(set(left.cases.values()) - set(now.cases.values()))
    facts = {"version": now.number, "left": left.number, "rows_again": back, "cases_undone": again, "reason": reason}
    undone = f"; {back} rows are in it again, erased by {', '.join(again)}" if again else ""
    answer(facts, f"version {now.number} is in use in place of {left.number}{undone}", json)
