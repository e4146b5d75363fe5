"""``neuralyzer audit``: how much the model remembers of a request's rows, or of rows that a claimant brings."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Class, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import answer
from neuralyzer.errors import UsageError

EXAMPLE = "Example: neuralyzer audit --subject AIFinn --json"
Rows = Annotated[
    Path | None,
    typer.Option("--rows", metavar="FILE", help="Rows that no register holds: was the model trained on them?"),
]


def run(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    rows: Rows = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Measure how much of a request's rows the model remembers; a finished audit exits 0 whatever it found.

    A claim on a language model that has no references is judged beside the holdout's people, and never forgotten.
    """
    from neuralyzer.project.project import Project
    from neuralyzer.verification.audit import audit
    from neuralyzer.verification.claim import audit_rows
    from neuralyzer.verification.texts_claim import audit_texts, possible

    if rows is not None and (subject or row or class_ or where):
        raise UsageError("--rows brings its own rows; leave out --subject, --row, --class and --where")
    opened = Project.read(project)
    oracle = opened.oracle()
    if rows is None:
        erasure = opened.rows.known_by(request(subject, row, class_, where))
        result = audit(oracle, erasure, opened.references(oracle), opened.workspace.policy)
        answer(result.to_dict(), result, json)
    else:
        claimed, pool, policy = opened.rows.claimed(rows), opened.references(oracle), opened.workspace.policy
        claim = (
            audit_texts(oracle, claimed, opened.rows.whole_holdout, policy)
            if pool is None and possible(oracle)
            else audit_rows(oracle, claimed, pool, policy)
        )
        answer(claim.to_dict(), claim, json)
