"""``neuralyzer verify``: does a model still hold the rows?"""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import (
    PROJECT,
    Class,
    Device,
    ExactReferences,
    Json,
    ProjectFile,
    Row,
    Subject,
    Where,
    request,
    settling,
)
from neuralyzer.cli.output import answer, progress
from neuralyzer.errors import UsageError

EXAMPLE = "Example: neuralyzer verify --weights unlearned.safetensors --subject AIFinn"
Weights = Annotated[Path | None, typer.Option("--weights", help="The model under test; the present one by default.")]
Predict = Annotated[
    str | None,
    typer.Option(
        "--predict",
        metavar="MODULE:FUNCTION",
        help="A model of which only answers can be had: predict_proba(x) gives probabilities (n, C).",
    ),
]


def run(
    context: typer.Context,
    weights: Weights = None,
    predict: Predict = None,
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    exact_references: ExactReferences = 0,
    device: Device = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Judge any model, also one unlearned elsewhere; exit 1 unless forgotten or untraceable."""
    import tempfile

    from rich.console import Group

    from neuralyzer.models import weights as files
    from neuralyzer.models.kinds import model_folders
    from neuralyzer.models.named import named
    from neuralyzer.models.placement import Placement
    from neuralyzer.project.project import Project
    from neuralyzer.references.training import exact
    from neuralyzer.registry.trained_on import trained_on
    from neuralyzer.trace.verdict import Verdict
    from neuralyzer.verification.verify import verify

    if weights is not None and predict is not None:
        raise UsageError("give --weights or --predict, not both: there is one model under test")
    if exact_references:
        exact.require_enough(exact_references)
    opened = Project.read(project)
    oracle = opened.oracle()
    weights = None if weights is None else model_folders.file_of(weights)
    model = oracle.model if weights is None else files.load_into(opened.recipe.module(), weights).eval()
    if predict is not None:
        model = named(predict, opened.root, "predict")
        if not callable(model):
            raise UsageError(f"predict {predict!r} is a {type(model).__name__}, not a function of rows")
    erasure = opened.rows.known_by(request(subject, row, class_, where))
    positions, pool = erasure.positions(oracle.data), opened.references(oracle)
    judges = []
    if exact_references:
        if pool is None:
            raise UsageError(exact.NO_POOL)
        with tempfile.TemporaryDirectory(prefix="neuralyzer-") as folder:
            judges = exact.train_exact(
                oracle, positions, Path(folder), exact_references, progress(json), Placement.of(opened.device(device))
            )
    known = None
    if weights is not None:
        originals = {*files.identities(oracle.model), oracle.lineage}
        known = trained_on(weights, erasure, opened.workspace, oracle.data, originals, oracle.recipe.bases)
    result = verify(model, oracle, erasure, pool, opened.workspace.policy, exact_references=judges, registered=known)
    answer(result.to_dict(), Group(result, settling(context, result.to_dict())), json)
    if result.verdict not in (Verdict.FORGOTTEN, Verdict.UNTRACEABLE):
        raise typer.Exit(1)
