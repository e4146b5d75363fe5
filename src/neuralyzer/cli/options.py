"""The options that several verbs share, and the request made from them."""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neuralyzer.data.request import ErasureRequest

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain text: no colour, nothing that moves.")]
ProjectFile = Annotated[Path, typer.Option("--project", help="The project file.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to train, such as cuda or cpu; by default the GPU if there is one."),
]
Subject = Annotated[
    list[str] | None, typer.Option("--subject", metavar="NAME", help="A data subject; repeat for several.")
]
Row = Annotated[list[str] | None, typer.Option("--row", metavar="ID", help="A row id; repeat for several.")]
Class = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="LABEL", help="A class, all of whose rows go; repeat for several."),
]
Where = Annotated[str | None, typer.Option("--where", help="A predicate over the data's columns, such as 'age < 18'.")]
Wanted = Annotated[
    str, typer.Option("--guarantee", help="The weakest that will do: exact, clean, certified, strong, weak.")
]
Reason = Annotated[str, typer.Option("--reason", help="privacy, bias, stale, poison, or your own word.")]
Budget = Annotated[float | None, typer.Option("--budget", help="Seconds that the first choice may take.")]
Due = Annotated[str | None, typer.Option("--due", help="The legal date, such as 2026-12-31.")]
Received = Annotated[
    str | None, typer.Option("--received", help="The day on which the request came in; by default today.")
]
DecidedBy = Annotated[str | None, typer.Option("--decided-by", help="Who decided.")]
Method = Annotated[str | None, typer.Option("--method", help="Your own choice of algorithm; see 'neuralyzer methods'.")]
Interactive = Annotated[
    bool, typer.Option("--interactive", help="Choose among the plan's options by the arrow keys before it goes on.")
]
ExactReferences = Annotated[
    int,
    typer.Option(
        "--exact-references",
        help="Train so many models on exactly the retained rows to judge in the pool's place; 8 are enough.",
    ),
]
AlsoNear = Annotated[
    bool,
    typer.Option(
        "--also-near", help="Other people's rows that say nearly the same go too; they are named on the screen."
    ),
]
ShowAnswers = Annotated[
    bool,
    typer.Option(
        "--show-answers",
        help="Keep a language model's sample answers in words, in result and report; they may hold erased data.",
    ),
]
NameSubject = Annotated[bool, typer.Option("--name-subject", help="Name the subject in certificate and report.")]

PROJECT = Path("neuralyzer.toml")


def request(
    subject: list[str] | None,
    row: list[str] | None,
    class_: list[str] | None,
    where: str | None,
    guarantee: str = "weak",
    reason: str = "privacy",
    budget: float | None = None,
    due: str | None = None,
    decided_by: str | None = None,
    received: str | None = None,
    also_near: bool = False,
) -> "ErasureRequest":
    """Return the request that the options describe."""
    from neuralyzer.data.request import ErasureRequest

    return ErasureRequest(
        subjects=subject or (), rows=row or (), classes=class_ or (), where=where, guarantee=guarantee,
        reason=reason, budget=budget, due=due, decided_by=decided_by, received=received, also_near=also_near,
    )  # fmt: skip


def again(context: typer.Context, verb: str, without: Collection[str] = ()) -> str:
    """Return a command with the options of the one that is being run.

    Args:
        context: of the running command.
        verb: of the returned command.
        without: names of options that are left out.

    Returns:
        The command as it is typed.
    """
    words = ["neuralyzer", verb]
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if option.name in without or value in (None, (), [], False) or value == option.get_default(context):
            continue
        for entry in value if isinstance(value, list | tuple) else [value]:
            words += [option.opts[0]] if entry is True else [option.opts[0], str(entry)]
    return shlex.join(words)


# Options that do not describe the request; a command that settles a verdict leaves them out.
CHOSEN = ("method", "exact_references", "budget", "interactive", "show_answers", "json", "weights", "predict")


def settling(context: typer.Context, verification: Mapping[str, Any]) -> "RenderableType":
    """Return the commands that would settle an inconclusive verdict; none for another verdict."""
    from rich.console import Group
    from rich.text import Text

    from neuralyzer.verification.words import SETTLING

    lines = [
        Text(f"settle it    {again(context, 'forget', CHOSEN)} {option}   ({SETTLING[option.split()[0]]})")
        for option in verification.get("settled_by", ())
    ]
    return Group(*lines)
