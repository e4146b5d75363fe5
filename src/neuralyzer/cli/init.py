"""``neuralyzer init``: writes a project file."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer
from neuralyzer.errors import UsageError

Recipe = Annotated[str, typer.Option(help="module:attribute of the recipe.")]
Weights = Annotated[str, typer.Option(help="Safetensors file of the model's weights.")]
Train = Annotated[str, typer.Option(help="Training rows: .parquet, .csv or .jsonl.")]
Holdout = Annotated[str, typer.Option(help="200 rows or more that the model never saw.")]
Target = Annotated[str, typer.Option(help="Column of the targets.")]
Column = Annotated[str, typer.Option(help="Column that says whose row it is.")]
Id = Annotated[str, typer.Option(help="Column of the row ids; without it rows are numbered.")]
EXAMPLE = "Example: neuralyzer init --recipe oracle:recipe --train train.parquet --target label --subject customer"


def run(
    recipe: Recipe = "oracle:recipe",
    weights: Weights = "oracle.safetensors",
    train: Train = "train.parquet",
    holdout: Holdout = "holdout.parquet",
    target: Target = "label",
    subject: Column = "customer",
    id: Id = "",
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Write neuralyzer.toml and make the folder .neuralyzer/ beside it."""
    from neuralyzer.cli.project_file import FOLDER, TEMPLATE
    from neuralyzer.workspace import atomic

    if project.exists():
        raise UsageError(f"{project} exists already; edit it, or remove it first")
    content = TEMPLATE.format(
        recipe=recipe,
        weights=weights,
        train=train,
        holdout=holdout,
        target=target,
        subject=subject,
        id=f'id = "{id}"                  ' if id else '# id = "row_id"              ',
    )
    atomic.write_bytes(project, content.encode(), mode=0o644)
    folder = Path(project).absolute().parent / FOLDER
    atomic.make_folder(folder)
    atomic.write_bytes(folder / ".gitignore", b"*\n")
    answer({"project": str(project.absolute()), "workspace": str(folder)}, f"wrote {project} and {FOLDER}/", json)
