"""The output of a verb: one JSON document, or what Rich prints."""

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralyzer.progress import Progress


def answer(values: Any, view: Any, as_json: bool) -> None:
    """Print ``values`` as JSON, or ``view`` in the terminal; a text as it is, its lines neither wrapped nor cut."""
    if as_json:
        json.dump(values, sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        from rich.console import Console

        plain = isinstance(view, str)
        Console(highlight=False).print(view, soft_wrap=plain, markup=not plain)


def announce(line: str, as_json: bool) -> None:
    """Print a line on a terminal before the work begins; elsewhere stderr has errors alone."""
    if not as_json and sys.stderr.isatty():
        print(line, file=sys.stderr)


def progress(as_json: bool) -> "Progress":
    """Return a progress that shows long steps on a terminal; elsewhere stderr has errors alone."""
    from neuralyzer.progress import Silent, Terminal

    if as_json or not sys.stderr.isatty():
        return Silent()
    from rich.console import Console

    return Terminal(Console(stderr=True, highlight=False))
