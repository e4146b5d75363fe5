"""``neuralyzer plan``: the options and the choice."""

from typing import Annotated

import typer

from neuralyzer.cli.options import (
    PROJECT,
    Budget,
    Class,
    Json,
    ProjectFile,
    Row,
    Subject,
    Wanted,
    Where,
    request,
)
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer plan --subject AIFinn --budget 60"
Every = Annotated[bool, typer.Option("--all", help="Show what is not feasible, too, and why.")]


def run(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    guarantee: Wanted = "weak",
    budget: Budget = None,
    every: Every = False,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Show the options with predicted seconds, trace and utility, and which one would be taken."""
    from neuralyzer.planning.plan import plan
    from neuralyzer.planning.track_record import Record
    from neuralyzer.project.project import Project
    from neuralyzer.verification.controls import Controls, original_control

    opened = Project.read(project)
    oracle = opened.oracle()
    erasure = opened.rows.known_by(request(subject, row, class_, where, guarantee, budget=budget))
    record = Record.shipped().with_cases(opened.workspace.cases)
    pool, policy, doubt = opened.references(oracle), opened.workspace.policy, None
    if pool is not None:
        parts = pool.parts(erasure.positions(oracle.data))
        doubt = Controls(positive=original_control(pool, oracle, parts, policy.alpha, "tuning")).reason
    result = plan(oracle, erasure, pool, policy, record, doubt)
    answer(result.to_dict(), result.view(every), json)
