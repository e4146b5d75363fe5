"""``neuralyzer register-model``: registers a copy, a model made from the project's, or a pretrained base."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer register-model shop oracle.safetensors --kind copy"
Name = Annotated[str, typer.Argument(help="What it is called; letters, digits, '.', '_' and '-'.")]
Weights = Annotated[Path, typer.Argument(help="The file of its weights.")]
KindOf = Annotated[str, typer.Option("--kind", help="copy, fine-tuned, distilled, quantised or base.")]
Parent = Annotated[str | None, typer.Option(help="What it was made from: a digest, or a registered model's name.")]
DataOf = Annotated[
    str | None, typer.Option("--data", help="What it was trained on: a registered data set's digest or name.")
]


def run(
    name: Name,
    weights: Weights,
    kind: KindOf = "copy",
    parent: Parent = None,
    data: DataOf = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Register a model besides the project's own, so that locate and the certificate name it."""
    from neuralyzer.project.project import Project
    from neuralyzer.registry.models import register_model

    made = register_model(Project.read(project).workspace, name, weights, kind=kind, parent=parent, data=data)
    answer(vars(made), f"registered {made.name} ({made.kind}, {made.digest[:12]})", json)
