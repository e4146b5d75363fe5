"""``neuralyzer verify``: does a model still hold the rows?"""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Class, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer verify --weights unlearned.safetensors --subject AIFinn"
Weights = Annotated[Path | None, typer.Option("--weights", help="The model under test; the present one by default.")]


def run(
    weights: Weights = None,
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Judge any weights of the recipe, also ones unlearned elsewhere; exit 1 unless forgotten or untraceable."""
    from neuralyzer.cli.project import Project
    from neuralyzer.models import weights as files
    from neuralyzer.trace.verdict import Verdict
    from neuralyzer.verification.verify import verify

    own = Project.read(project)
    oracle = own.oracle()
    model = oracle.model if weights is None else files.load_into(own.recipe.module(), weights).eval()
    asked = request(subject, row, class_, where)
    found = verify(model, oracle, asked, own.references(oracle), own.workspace.policy)
    answer(found.to_dict(), found, json)
    if found.verdict not in (Verdict.FORGOTTEN, Verdict.UNTRACEABLE):
        raise typer.Exit(1)
