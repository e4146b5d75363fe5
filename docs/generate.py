"""Writes what the docs can take from the code: the methods, the errors, the command line.

``python docs/generate.py`` writes; with ``--check`` it only says what differs, and exits 1 if anything does.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from neuralyzer import errors

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import findings
import left_behind
import measured
import world_tables

SHOWN = ("retrain", "rollback", "rewind", "datamodel-matching", "influence", "neggrad-plus")  # in the README


def methods(folder: str, shown: Sequence[str] = ()) -> str:
    """The table of methods.

    Args:
        folder: where the docs lie, seen from the page that the table is for.
        shown: which methods; all of them where it is empty.

    Returns:
        Markdown.
    """
    from neuralyzer.methods.catalogue import methods as catalogue
    from neuralyzer.unlearning.method import for_comparison

    # What a third party registered here is no part of these docs.
    own = {name: kind for name, kind in catalogue().items() if kind.__module__.startswith("neuralyzer.")}
    lines = ["| method | guarantee | what it does | expected trace | paper |", "|---|---|---|---:|---|"]
    for name, kind in own.items():
        if shown and name not in shown:
            continue
        page = Path("methods") / f"{name}.md"
        label = f"[`{name}`]({folder}{page.as_posix()})" if (ROOT / "docs" / page).exists() else f"`{name}`"
        label += "†" if "from memory" in (inspect.getdoc(kind) or "").lower() else ""
        trace = f"{100 * kind.expected.trace:.0f} %"
        summary = f"{kind.summary} (for comparison)" if for_comparison(kind) else kind.summary
        lines.append(f"| {label} | {kind.guarantee} | {summary} | {trace} | {linked(kind.paper)} |")
    note = (
        "† an equation, or a part of the algorithm, is from memory; the docstring says which, and what was read where."
    )
    others = f"[The other {len(own) - len(shown)} methods]({folder}methods.md), and how one is chosen."
    return "\n".join([*lines, "", note, *(["", others] if shown else [])])


def linked(paper: str) -> str:
    """A paper's name with its arXiv number as a link."""
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def error_table() -> str:
    """The errors, from their docstrings."""
    lines = ["| error | what it means |", "|---|---|"]
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and kind.__module__ == errors.__name__:
            lines.append(f"| `{name}` | {inspect.cleandoc(kind.__doc__ or '').splitlines()[0]} |")
    return "\n".join(lines)


def command_line() -> str:
    """Every verb with its arguments, options and example, from Typer."""
    import typer

    from neuralyzer.cli.app import verbs

    return "\n\n".join(_verbs(typer.main.get_command(verbs), "neuralyzer"))


def _verbs(group: Any, name: str) -> Iterator[str]:
    for verb in group.commands.values():
        own = f"{name} {verb.name}"
        if hasattr(verb, "commands"):
            yield from _verbs(verb, own)
        else:
            yield _verb(verb, own)


def _verb(verb: Any, name: str) -> str:
    told = re.sub(r"\s+", " ", inspect.cleandoc(verb.help or ""))
    context = verb.context_class(verb)
    arguments = [p.name.upper() for p in verb.params if p.param_type_name == "argument"]
    records = [p.get_help_record(context) for p in verb.params if p.param_type_name == "option"]
    rows = [f"| `{own}` | {told.replace('|', chr(92) + '|')} |" for own, told in filter(None, records)]
    parts = [f"## {name}", told, f"```text\n{' '.join([name, *arguments, '[OPTIONS]'])}\n```"]
    parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    example = (verb.epilog or "").removeprefix("Example: ")
    return "\n\n".join([*parts, *([f"```bash\n{example}\n```"] if example else [])])


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"methods": lambda: methods("docs/", SHOWN)},
    "docs/methods.md": {"methods": lambda: methods("")},
    "docs/errors.md": {"errors": error_table},
    "docs/cli.md": {"cli": command_line},
    "docs/statistics.md": {"calibration": measured.tables},
    "docs/ledger.md": {"figures": measured.ledger},
    "docs/capacity.md": {"seconds": measured.stage_seconds, "workers": measured.capacity},
    "docs/leaderboard.md": {"findings": findings.findings, "leaderboard": world_tables.tables},
    "docs/leaderboard-appendix.md": {"entrants": left_behind.tables},
}


def filled(text: str, part: str, content: str) -> str:
    """A page with a part filled in between its markers.

    Returns:
        The page.

    Raises:
        ValueError: if the page lacks the markers.
    """
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"a page needs {begin} and {end}, once each")
    return text[: text.index(begin)] + f"{begin}\n{content}\n{end}" + text[text.index(end) + len(end) :]


def main(check: bool) -> int:
    """Write the pages, or say which differ.

    Returns:
        The exit code.
    """
    stale = []
    for name, parts in PARTS.items():
        page = ROOT / name
        now = was = page.read_text()
        for part, render in parts.items():
            now = filled(now, part, render())
        if now != was:
            stale.append(name)
            if not check:
                page.write_text(now)
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run python docs/generate.py", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
