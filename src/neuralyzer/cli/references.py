"""``neuralyzer references``: make, finish or grow the pool."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer, progress

EXAMPLE = "Example: neuralyzer references --size 64"
Size = Annotated[int | None, typer.Option("--size", help="Members of both halves; by default the project file's.")]


def run(size: Size = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Train and measure models that never saw some of the data; goes on where it was stopped, grows in place."""
    from neuralyzer.cli.project import Project
    from neuralyzer.references.pool import DEFAULT_SIZE, References

    own = Project.read(project)
    table = own.tables.get("references", {})
    pool = References.fit(
        own.oracle(), size or table.get("size", DEFAULT_SIZE), table.get("leave_out"), tuple(table.get("groups", ())),
        own.workspace, backend=table.get("backend"), keep_weights=table.get("keep_weights", False),
        progress=progress(json),
    )  # fmt: skip
    facts = {
        "size": pool.size, "tuning": pool.tuning.half.members, "judging": pool.judging.half.members,
        "digest": pool.digest, "folder": str(pool.store.root), "backend": pool.head["why"],
        "left_out_share": pool.tuning.half.share,
    }  # fmt: skip
    answer(facts, f"{pool.size} references measured ({pool.head['why']}); they lie in {pool.store.root}", json)
