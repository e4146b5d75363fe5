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

Service = Annotated[
    bool,
    typer.Option("--service", help="The service on the digits project answers three requests; it stays until Ctrl-C."),
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the service; a free one by default.")]


def run(
    out: Out = Path("neuralyzer-demo"),
    language: Language = False,
    service: Service = False,
    port: Port = 0,
    method: Method = None,
    seed: Seed = 0,
    plain: Plain = False,
    json: Json = False,
) -> None:
    """Train the Oracle and its references on real digits, then answer AIFinn's request while you watch.

    With --service the same model is served over HTTP. With --language the model is a small assistant, made here without any download, that forgets an invented author.
    """
    if service:
        _service(out, port, seed, plain, json)
    elif language:
        _language(out, method, seed, plain, json)
    else:
        _digits(out, method, seed, plain, json)


def _service(out: Path, port: int, seed: int, plain: bool, json: bool) -> None:
    import threading

    from neuralyzer.cases.screen import console
    from neuralyzer.cli.extras import require
    from neuralyzer.demo.service import served

    for module in ("uvicorn", "fastapi", "dbos", "httpx"):
        require("service", module)
    screen = console(plain)
    with served(out, (lambda line: None) if json else screen.print, seed, port) as running:
        found = {"address": running.address, "requests": running.requests}
        if json:
            answer(found, None, True)
        else:
            screen.print("All are answered. The service stays until Ctrl-C.")
            threading.Event().wait()
    if any(request["state"] != "done" for request in running.requests):
        raise typer.Exit(1)


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
