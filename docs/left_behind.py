"""What the benchmark of methods measured, from ``benchmarks/results``: its lines, and the full tables of the appendix."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

Line = dict[str, Any]  # what one entrant left in one world and scenario

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "methods.json"
TITLES = {
    ("cifar10", "ten"): "CIFAR-10: ten people together, 10 % of the rows",
    ("cifar10", "one"): "CIFAR-10: one person, 1 % of the rows",
    ("cifar10-even", "ten"): "CIFAR-10, even batches: ten people, 10 % of the rows",
    ("cifar10-even", "one"): "CIFAR-10, even batches: one person, 1 % of the rows",
    ("cifar10-classes", "class"): "CIFAR-10: one class, 10 % of the rows",
    ("cifar10-classes", "half"): "CIFAR-10: half of a class, 5 % of the rows",
    ("digits", "ten"): "Digits: ten people together, 10 % of the rows",
    ("digits", "one"): "Digits: one person, 1 % of the rows",
    ("digits-classes", "class"): "Digits: one class, 10 % of the rows",
    ("digits-classes", "half"): "Digits: half of a class, 5 % of the rows",
    ("adult", "ten"): "Adult: 3,250 rows, 10 %",
    ("adult", "one"): "Adult: 325 rows, 1 %",
}
HEAD = ("entrant", "largest trace", "detected", "gap, points", "KLoM", "test accuracy", "share of retraining's time")


def lines() -> list[Line]:
    """Return what every entrant left in every world."""
    return list(json.loads(RESULTS.read_text())["lines"])


def kind_of(line: Line) -> tuple[str, str]:
    """Return the kind of world and the scenario."""
    return line["world"].rpartition("-")[0], line["scenario"]


def scenarios(every: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    """Return the lines of each kind and scenario, in the order of ``TITLES``."""
    found = {key: [line for line in every if kind_of(line) == key] for key in TITLES}
    return {key: own for key, own in found.items() if own}


def entrants(own: Sequence[Line]) -> dict[str, list[Line]]:
    """Return the lines of each entrant that ran, over seeds."""
    found: dict[str, list[Line]] = {}
    for line in own:
        if line["entrant"] != "retrained" and "failed" not in line:
            found.setdefault(line["entrant"], []).append(line)
    return found


def share(ran: Sequence[Line]) -> float | None:
    """Return the median share of retraining's time; None for the original."""
    timed = shares(ran)
    return median(timed) if timed else None


def shares(ran: Sequence[Line]) -> list[float]:
    """Return the share of retraining's time of each line that was timed."""
    return [line["seconds"] / line["retraining_seconds"] for line in ran if "seconds" in line]


def middle(ran: Sequence[Line], key: str) -> float:
    """Return the median of a figure over seeds."""
    return float(median(line[key] for line in ran))


def retrained(own: Sequence[Line], key: str) -> list[float]:
    """Return a figure of each model retrained without the rows, over seeds."""
    return [value for line in own if line["entrant"] == "retrained" for value in line[key]]


def tables() -> str:
    """Return a full table for each kind of world and scenario, as Markdown."""
    return "\n\n".join(
        f"## {TITLES[key]}\n\n{_retrained(own)}\n\n{_table(own)}" for key, own in scenarios(lines()).items()
    )


def _retrained(own: Sequence[Line]) -> str:
    among = [line for line in own if line["entrant"] == "retrained"]
    seeds = sorted(line["world"].rpartition("-")[2] for line in among)
    each = {key: retrained(own, key) for key in ("worst", "gap", "klom", "rejects")}
    took = median(line["retraining_seconds"] for line in among)
    return (
        f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}. {len(each['worst'])} retrained models: largest trace "
        f"{100 * min(each['worst']):.0f} to {100 * max(each['worst']):.0f} %, {sum(each['rejects']):.0f} detected; gap "
        f"{min(each['gap']):.1f} to {max(each['gap']):.1f} points; KLoM {min(each['klom']):.1f} to "
        f"{max(each['klom']):.1f}; one retraining took {took:.1f} s."
    )


def _table(own: Sequence[Line]) -> str:
    rows = sorted(entrants(own).items(), key=lambda item: middle(item[1], "worst"))
    shown = [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}"]
    return "\n".join([*shown, *(f"| {' | '.join(_row(name, ran))} |" for name, ran in rows)])


def _row(name: str, ran: Sequence[Line]) -> list[str]:
    mid, took = {key: middle(ran, key) for key in ("worst", "gap", "klom", "test")}, share(ran)
    detected = sum(line["rejects"] for line in ran)
    return [
        _named(name, ran), f"{100 * mid['worst']:.0f} %", f"{detected} of {len(ran)}", f"{mid['gap']:.1f}",
        f"{mid['klom']:.1f}", f"{mid['test']:.3f}", "-" if took is None else f"{100 * took:.0f} %",
    ]  # fmt: skip


def _named(name: str, ran: Sequence[Line]) -> str:
    kind, _, method = name.partition(":")
    if kind == "plan":
        return f"**plan's choice** ({', '.join(dict.fromkeys(line['chosen'] for line in ran))})"
    if kind == "forget":
        verdicts = ", ".join(line["verdict"] for line in ran)
        return f"**whole case** ({', '.join(dict.fromkeys(line['chosen'] for line in ran))}; {verdicts})"
    return f"{kind} {method}".strip()
