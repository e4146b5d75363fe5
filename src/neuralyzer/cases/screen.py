"""The terminal output of a case: in Rich, as plain lines, or none."""

from collections import Counter
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from neuralyzer.cases.attempt import Outcome
from neuralyzer.cases.speed import Speed
from neuralyzer.progress import Terminal
from neuralyzer.registry.location import Base
from neuralyzer.verification.audit import audit_view
from neuralyzer.verification.verification import Verification, verification_view
from neuralyzer.verification.words import colour


class Screen(Terminal):
    """A listener that prints each stage of a case.

    Args:
        console: where it prints.
        model: name of the model in sentences.
        whose: owner of the trace in sentences, in the genitive.
    """

    def __init__(self, console: Console, model: str = "The model", whose: str = "the rows'") -> None:
        super().__init__(console)
        self.model, self.whose = model, whose

    def say(self, text: str) -> None:
        """Print a heading."""
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def stage(self, name: str, result: Any) -> None:
        """Print a stage's result."""
        self.console.print()
        if name == "located":
            self.console.print(_located_view(result))
        elif name == "audit":
            self.console.print(audit_view(result, self.model, self.whose))
        elif name == "attempt":
            self.console.print(_attempt_view(result))
        elif name == "answers":
            self.console.print(answers_view(result))
        else:
            self.console.print(result)


def _located_view(location: dict[str, Any]) -> RenderableType:
    """Return a table of where the rows are."""
    table = Table(
        title=f"located: {location['rows']} rows, in {location['seconds']:.2f} s", title_justify="left", box=None
    )
    for head in ("what", "name", "rows or steps"):
        table.add_column(head)
    for hit in location["datasets"]:
        table.add_row(f"data set ({hit['role']})", hit["name"], f"{hit['rows']} rows")
    for run in location["runs"]:
        clean = "none" if run["newest_clean"] is None else f"step {run['newest_clean']}"
        table.add_row("training run", run["name"], f"first seen at step {run['first_seen']}, newest clean: {clean}")
    for model in location.get("derived", ()):
        table.add_row("derived model", model["name"], model["kind"] if model["reachable"] else model["reason"])
    for base in location.get("bases", ()):
        table.add_row("pretrained base", base["name"] or base["digest"][:12], str(Base(**base)).partition(": ")[2])
    if location["duplicates"]:
        table.add_row("exact duplicates", "under other names", f"{len(location['duplicates'])} rows")
    for name, what in (("near_copies", "not covered"), ("also_near", "part of the request")):
        copies = location.get(name) or ()  # cases that an early version located have none
        for (whose, dataset), count in Counter((hit["subject"], hit["dataset"]) for hit in copies).items():
            table.add_row("near copy", f"of {whose!r}", f"{count} rows in {dataset}, {what}")
    for hit in location.get("near", ()):
        table.add_row("near name", repr(hit["name"]), f"{hit['rows']} rows in {hit['dataset']}, not covered")
    return table


def _attempt_view(outcome: Outcome) -> RenderableType:
    """Return the outcome of an attempt: the acceptance tests one by one, and why it was not enough."""
    parts: list[RenderableType] = [Text(f"{outcome.method}: {outcome.seconds:.2f} s, repair included")]
    if outcome.failures:
        parts.append(Text(f"turned down: {'; '.join(outcome.failures)}; the next option follows", style="yellow"))
    if outcome.acceptance is not None:
        parts.append(Text("acceptance tests on the new weights", style="bold"))
        for test in outcome.acceptance.tests:
            mark, style = ("✓", "green") if test["ok"] else ("✗", "red")
            parts.append(Text(f"  {mark} {test['name']}", style=style))
    return Group(*parts)


def answers_view(answers: dict[str, Any]) -> RenderableType:
    """Return sample answers before and after: how much of what was taught they repeat, and in words where kept."""
    if answers["missing"]:
        return Text(f"no sample answers: {answers['missing']}", style="yellow")
    models = {"original": "before", "unlearned": "after", "never_saw": "never saw"}
    if all(row["overlap"]["never_saw"] is None for row in answers["rows"]):
        models.pop("never_saw")
    parts: list[RenderableType] = []
    if answers["words"]:
        for row in answers["rows"]:
            whose = "" if row["about"] == "subject" else "  (of others)"
            parts.append(Text(f"“{row['question']}”{whose}", style="bold"))
            parts += [Text(f"  {head:<9}  {row['answers'][model]}") for model, head in models.items()]
    table = Table(title="sample answers: words repeated of what was taught", title_justify="left", box=None)
    table.add_column("about")
    for head in models.values():
        table.add_column(head, justify="right")
    for row in answers["rows"]:
        cells = (row["overlap"][model] for model in models)
        about = "the rows asked about" if row["about"] == "subject" else "retained rows"
        table.add_row(about, *("-" if value is None else f"{100 * value:.0f} %" for value in cells))
    note = f"never saw: {answers['never_saw']}" if "never_saw" in models else f"no third model: {answers['never_saw']}"
    return Group(*parts, table, Text(note, style="bright_black"))


def case_view(result: dict[str, Any]) -> RenderableType:
    """Return the verification, the utility, the verdict, and the paths of report, certificate and weights."""
    verification = Verification.from_dict(result["verification"])
    unlearning, name = result["unlearning"], result["utility"]["name"]
    utility = result["utility"][f"holdout_{name}"]
    retrained = utility["retrained"]
    known = {"original": utility["original"], "unlearned": utility["unlearned"]}
    if retrained:
        known["really retrained (mean)"] = sum(retrained) / len(retrained)
    table = Table(box=None)
    table.add_column(f"holdout {name}")
    for head in known:
        table.add_column(head, justify="right")
    table.add_row("", *("-" if value is None else f"{value:.4f}" for value in known.values()))
    speed = unlearning.get("speed")
    took = Speed.from_dict(speed).lines() if speed else [f"unlearning took {unlearning['seconds']:.2f} s"]
    lines = [
        Text(str(verification.verdict).upper(), style=f"bold {colour(verification.verdict)}"),
        *(Text(line) for line in took),
        Text(f"report       {result['report']}"),
        Text(f"certificate  {result['certificate']}"),
        Text(f"check it     neuralyzer certificate verify {result['certificate']} --weights {result['weights_file']}"),
    ]
    return Group(verification_view(verification, bool(retrained)), Text(), table, Panel(Group(*lines), expand=False))


def console(plain: bool) -> Console:
    """Return a console for the terminal; if ``plain``, one of fixed width without colour."""
    return (
        Console(no_color=True, force_terminal=False, width=120, highlight=False) if plain else Console(highlight=False)
    )
