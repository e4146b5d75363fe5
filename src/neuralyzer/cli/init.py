"""``neuralyzer init``: a project file and its folder."""

from pathlib import Path

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer
from neuralyzer.errors import UsageError

EXAMPLE = "Example: neuralyzer init --recipe oracle:recipe --train train.parquet --target label --subject customer"


def run(
    recipe: str = "oracle:recipe",
    weights: str = "oracle.safetensors",
    train: str = "train.parquet",
    holdout: str = "holdout.parquet",
    target: str = "label",
    subject: str = "customer",
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Write neuralyzer.toml and make the folder .neuralyzer/ beside it."""
    from neuralyzer.cli.project import FOLDER, TEMPLATE
    from neuralyzer.workspace import atomic

    if project.exists():
        raise UsageError(f"{project} exists already; edit it, or remove it first")
    content = TEMPLATE.format(
        recipe=recipe, weights=weights, train=train, holdout=holdout, target=target, subject=subject
    )
    atomic.write_bytes(project, content.encode())
    folder = Path(project).absolute().parent / FOLDER
    folder.mkdir(exist_ok=True)
    atomic.write_bytes(folder / ".gitignore", b"*\n")
    answer({"project": str(project.absolute()), "workspace": str(folder)}, f"wrote {project} and {FOLDER}/", json)
