"""``neuralyzer init``: writes a project file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer
from neuralyzer.errors import UsageError

Recipe = Annotated[str, typer.Option(help="module:attribute of the recipe.")]
Base = Annotated[
    Path | None, typer.Option(help="Hugging Face folder of a language model's base; its recipe is written too.")
]
Weights = Annotated[
    str | None, typer.Option(help="The model's weights: by default oracle.safetensors; with --base the folder adapter.")
]
Train = Annotated[
    str | None, typer.Option(help="Training rows: .parquet, .csv or .jsonl; by default train.parquet or train.jsonl.")
]
Holdout = Annotated[
    str | None,
    typer.Option(help="200 rows or more that the model never saw; by default holdout, as the training rows."),
]
Target = Annotated[str, typer.Option(help="Column of the targets; texts have none.")]
Column = Annotated[str, typer.Option(help="Column that says whose row it is.")]
Id = Annotated[str, typer.Option(help="Column of the row ids; without it rows are numbered.")]
EXAMPLE = "Example: neuralyzer init --recipe oracle:recipe --train train.parquet --target label --subject customer"


def run(
    recipe: Recipe = "oracle:recipe",
    base: Base = None,
    weights: Weights = None,
    train: Train = None,
    holdout: Holdout = None,
    target: Target = "label",
    subject: Column = "customer",
    id: Id = "",
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Write neuralyzer.toml and make the folder .neuralyzer/ beside it; with --base also the recipe's module."""
    from neuralyzer.project.project_file import FOLDER, LANGUAGE, LANGUAGE_RECIPE, REST, TEMPLATE
    from neuralyzer.workspace import atomic

    root, kind = Path(project).absolute().parent, "parquet" if base is None else "jsonl"
    files = {project: TEMPLATE if base is None else LANGUAGE}
    if base is not None:
        from neuralyzer.models.kinds.bases import tokenizer_of

        tokenizer_of(base)  # a base that cannot be used is refused before anything is written
        files[root / f"{recipe.partition(':')[0].replace('.', '/')}.py"] = LANGUAGE_RECIPE
    existing = [path for path in files if path.exists()]
    if existing:
        raise UsageError(f"{existing[0]} exists already; edit it, or remove it first")
    values = {
        "recipe": recipe, "weights": weights or ("oracle.safetensors" if base is None else "adapter"),
        "train": train or f"train.{kind}", "holdout": holdout or f"holdout.{kind}", "target": target, "subject": subject,
        "base": None if base is None else os.path.relpath(base, root), "rest": REST.format(size=64 if base is None else 32),
        "id": f'id = "{id}"                  ' if id else '# id = "row_id"              ',
    }  # fmt: skip
    for path, content in files.items():
        atomic.write_bytes(path, content.format(**values).encode(), mode=0o644)
    folder = root / FOLDER
    atomic.make_folder(folder)
    atomic.write_bytes(folder / ".gitignore", b"*\n")
    answer(
        {"project": str(project.absolute()), "workspace": str(folder)},
        f"wrote {', '.join(str(path) for path in files)} and {FOLDER}/",
        json,
    )
