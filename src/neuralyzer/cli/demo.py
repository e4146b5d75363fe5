"""``neuralyzer demo``: erasure from a classifier of handwritten digits, or from a small language model."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import Json, Method, Plain, Seed
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer demo --out neuralyzer-demo --plain"
Out = Annotated[Path, typer.Option("--out", help="Folder for everything that it writes.")]


Language = Annotated[
    bool, typer.Option("--language", help="An assistant that learned authors' conversations forgets one author.")
]


def run(
    out: Out = Path("neuralyzer-demo"),
    language: Language = False,
    method: Method = None,
    seed: Seed = 0,
    plain: Plain = False,
    json: Json = False,
) -> None:
    """Train the Oracle and its references on real digits, then answer AIFinn's request while you watch.

    With --language the model is a small assistant, made here without any download, that forgets an invented author.
    """
    if language:
        _language(out, method, seed, plain, json)
    else:
        _digits(out, method, seed, plain, json)


def _language(out: Path, method: str | None, seed: int, plain: bool, json: bool) -> None:
    from neuralyzer.cases.screen import Screen, case_view, console
    from neuralyzer.demo.language import run as run_demo
    from neuralyzer.progress import Silent

    screen = Silent() if json else Screen(console(plain), "The assistant", "the author's")
    case = run_demo(out, screen, seed, method)
    if json:
        answer(case.result, None, True)
    else:
        assert isinstance(screen, Screen)
        screen.console.print(case_view(case.result))
    if not case.succeeded:
        raise typer.Exit(1)


def _digits(out: Path, method: str | None, seed: int, plain: bool, json: bool) -> None:
    from neuralyzer.cases.screen import Screen, case_view, console
    from neuralyzer.demo.digits import SUBJECT
    from neuralyzer.demo.run import run as run_demo
    from neuralyzer.progress import Silent

    screen = Silent() if json else Screen(console(plain), "The Oracle", f"{SUBJECT}'s")
    shown = run_demo(out, screen, seed, method)
    if json:
        answer(shown.result, None, True)
    else:
        assert isinstance(screen, Screen)
        screen.console.print(case_view(shown.result))
    if not shown.case.succeeded:
        raise typer.Exit(1)
