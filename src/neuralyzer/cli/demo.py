"""``neuralyzer demo``: a customer demands erasure from a classifier of handwritten digits."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import Json, Method, Plain, Seed
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer demo --out neuralyzer-demo --plain"
Out = Annotated[Path, typer.Option("--out", help="Folder for everything that it writes.")]


def run(
    out: Out = Path("neuralyzer-demo"), method: Method = None, seed: Seed = 0, plain: Plain = False, json: Json = False
) -> None:
    """Train the Oracle and its references on real digits, then answer AIFinn's request while you watch."""
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
