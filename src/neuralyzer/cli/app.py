"""The command's verbs, and its errors: one line on stderr, exit code 2; exit code 3 for a fault in Neuralyzer."""

import datetime as dt
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer

from neuralyzer import __version__
from neuralyzer.cli import (
    audit,
    case,
    certificate,
    demo,
    export,
    forget,
    influence,
    init,
    ledger_outside,
    locate,
    methods,
    plan,
    purge,
    references,
    register_model,
    release,
    request,
    rollback,
    serve,
    signals,
    status,
    token,
    train,
    verify,
    worker,
)
from neuralyzer.errors import NeuralyzerError, NeuralyzerWarning, first_line
from neuralyzer.project.project_file import FOLDER, TABLES

WRONG_INPUT, CRASHED, INTERRUPTED = 2, 3, 130

UsageProblem: Any = typer.BadParameter.__base__  # click's error of wrong options, from Typer's copy of click

verbs = typer.Typer(
    name="neuralyzer",
    help="Make a trained model forget chosen training data, and prove it.",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neuralyzer {__version__}")
        raise typer.Exit


@verbs.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for verb in (
    demo,
    init,
    train,
    references,
    locate,
    audit,
    influence,
    plan,
    forget,
    verify,
    status,
    export,
    register_model,
    methods,
    signals,
    purge,
    release,
    rollback,
    serve,
    worker,
):
    verbs.command(name=verb.__name__.rpartition(".")[2].replace("_", "-"), epilog=verb.EXAMPLE)(verb.run)
verbs.add_typer(certificate.verbs, name="certificate")
verbs.add_typer(request.verbs, name="request")
verbs.add_typer(case.verbs, name="case")
verbs.add_typer(token.verbs, name="token")
verbs.add_typer(ledger_outside.verbs, name="ledger")  # with those of cli/ledger.py


def app(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    shown, warnings.showwarning = warnings.showwarning, _warn
    try:
        code = typer.main.get_command(verbs).main(given or ["--help"], prog_name="neuralyzer", standalone_mode=False)
    except UsageProblem as error:
        _fail(f"{error.format_message()} See 'neuralyzer --help'.")
    except NeuralyzerError as error:
        _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001  the user gets one line for any error
        _crashed(error)
    finally:
        warnings.showwarning = shown
    if code == INTERRUPTED:  # Typer turns Ctrl-C into this code and prints nothing
        print("neuralyzer: stopped; call the same command again to go on", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our own warnings in one line, and other libraries' warnings as Python does."""
    if issubclass(category, NeuralyzerWarning):
        print(f"neuralyzer: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr, end="")


def _crashed(error: Exception) -> NoReturn:
    """Print one line for a fault in Neuralyzer, and write its traceback to a file."""
    text = "".join(traceback.format_exception(error))
    folder = Path(FOLDER) if Path(FOLDER).is_dir() else Path(tempfile.gettempdir())
    log = folder / f"crash-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    where = f"; the details are in {log}, please report them"
    try:
        log.write_text(f"neuralyzer {__version__}, {' '.join(sys.argv)}\n{text}")
    except OSError:
        print(text, file=sys.stderr)
        where = ""
    print(f"neuralyzer: it failed unexpectedly ({type(error).__name__}: {first_line(error)}){where}", file=sys.stderr)
    sys.exit(CRASHED)


def _fail(message: str) -> None:
    print(f"neuralyzer: {_in_words_of_the_file(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(WRONG_INPUT)


def _in_words_of_the_file(message: str) -> str:
    """Return a message with keys of the project file in place of Python arguments such as ``features=``."""
    return re.sub(rf"\b({'|'.join(TABLES['data'])})=(?![=\w'\"])", r"\1 in [data]", message)
