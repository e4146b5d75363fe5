"""``neuralyzer verify``: does a model still hold the rows?"""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Class, ExactReferences, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import answer, progress

EXAMPLE = "Example: neuralyzer verify --weights unlearned.safetensors --subject AIFinn"
Weights = Annotated[Path | None, typer.Option("--weights", help="The model under test; the present one by default.")]


def run(
    weights: Weights = None,
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    exact_references: ExactReferences = 0,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Judge any weights of the recipe, also ones unlearned elsewhere; exit 1 unless forgotten or untraceable."""
    import tempfile

    from neuralyzer.cli.project import Project
    from neuralyzer.errors import UsageError
    from neuralyzer.models import weights as files
    from neuralyzer.references import exact
    from neuralyzer.trace.verdict import Verdict
    from neuralyzer.verification.verify import verify

    if exact_references:
        exact.require_enough(exact_references)
    own = Project.read(project)
    oracle = own.oracle()
    model = oracle.model if weights is None else files.load_into(own.recipe.module(), weights).eval()
    asked = request(subject, row, class_, where)
    positions, pool = asked.positions(oracle.data), own.references(oracle)
    judges = []
    if exact_references:
        if pool is None:
            raise UsageError(exact.NO_POOL)
        with tempfile.TemporaryDirectory(prefix="neuralyzer-") as folder:
            judges = exact.train_exact(oracle, positions, Path(folder), exact_references, progress(json))
    found = verify(model, oracle, asked, pool, own.workspace.policy, exact_references=judges)
    answer(found.to_dict(), found, json)
    if found.verdict not in (Verdict.FORGOTTEN, Verdict.UNTRACEABLE):
        raise typer.Exit(1)
