"""``neuralyzer forget``: a whole case."""

import typer

from neuralyzer.cli.options import (
    PROJECT,
    AlsoNear,
    Budget,
    Class,
    DecidedBy,
    Device,
    Due,
    ExactReferences,
    Interactive,
    Json,
    Method,
    NameSubject,
    ProjectFile,
    Reason,
    Received,
    Row,
    Seed,
    ShowAnswers,
    Subject,
    Wanted,
    Where,
    request,
    settling,
)
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer forget --subject AIFinn --budget 60 --due 2026-12-31"


def run(
    context: typer.Context,
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    also_near: AlsoNear = False,
    guarantee: Wanted = "weak",
    reason: Reason = "privacy",
    budget: Budget = None,
    received: Received = None,
    due: Due = None,
    decided_by: DecidedBy = None,
    method: Method = None,
    seed: Seed = 0,
    exact_references: ExactReferences = 0,
    name_subject: NameSubject = False,
    show_answers: ShowAnswers = False,
    device: Device = None,
    interactive: Interactive = False,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Make the model forget, judge the result, sign a certificate and write a report.

    Stopped at any moment and called again, it goes on from the last finished stage. The original weights stay.
    """
    import sys
    from dataclasses import replace

    import click
    from rich.console import Console, Group

    from neuralyzer.cases.forget import forget
    from neuralyzer.cases.screen import Screen, case_view
    from neuralyzer.cli.choose import choose
    from neuralyzer.errors import UsageError
    from neuralyzer.progress import Silent
    from neuralyzer.project.project import Project

    console = Console(highlight=False)
    if interactive and (json or method is not None or not (console.is_terminal and sys.stdin.isatty())):
        raise UsageError("--interactive needs a terminal, and goes with neither --json nor --method")
    opened = Project.read(project)
    options = opened.options(
        device, method=method, seed=seed, exact_references=exact_references, show_answers=show_answers,
        choose=(lambda plan: choose(plan, console, click.getchar)) if interactive else None,
    )  # fmt: skip
    place = opened.workspace
    if name_subject:
        place = replace(place, policy=replace(place.policy, name_subject=True))
    erasure = opened.rows.known_by(
        request(subject, row, class_, where, guarantee, reason, budget, due, decided_by, received, also_near)
    )
    screen = Silent() if json else Screen(console)
    with opened.locked():  # no other command may change which model is the current one
        earlier = opened.answered(erasure)
        if earlier is not None:
            answer(earlier, Group(case_view(earlier), settling(context, earlier["verification"])), json)
            return
        oracle = opened.oracle()
        case = forget(
            oracle, erasure, lambda: opened.references(oracle), place, options=options, progress=screen, watch=screen
        )
        if case.succeeded:
            opened.succeed(oracle, [(erasure, case)])
    answer(case.to_dict(), Group(case_view(case.result), settling(context, case.result["verification"])), json)
    if not case.succeeded:
        raise typer.Exit(1)
