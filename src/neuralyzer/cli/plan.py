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
    from neuralyzer.cli.project import Project
    from neuralyzer.planning.plan import plan
    from neuralyzer.planning.track_record import Record
    from neuralyzer.verification.controls import Controls, original_control

    own = Project.read(project)
    oracle = own.oracle()
    asked = own.rows.known_by(request(subject, row, class_, where, guarantee, budget=budget))
    record = Record.shipped().with_cases(own.workspace.cases)
    pool, policy, doubt = own.references(oracle), own.workspace.policy, None
    if pool is not None:
        parts = pool.parts(asked.positions(oracle.data))
        doubt = Controls(positive=original_control(pool, oracle, parts, policy.alpha, "tuning")).reason
    found = plan(oracle, asked, pool, policy, record, doubt)
    answer(found.to_dict(), found.view(every), json)
