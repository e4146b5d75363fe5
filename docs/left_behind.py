"""Tables of what the benchmark of methods measured, from ``benchmarks/results``: ``generate.py`` puts them into the docs."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

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
HEAD = ("entrant", "largest trace", "told", "gap, points", "KLoM", "test accuracy", "share of retraining's time")


def lines() -> list[dict[str, Any]]:
    """What every entrant left in every world."""
    return list(json.loads(RESULTS.read_text())["lines"])


def kind_of(line: dict[str, Any]) -> tuple[str, str]:
    """Kind of world and scenario."""
    return line["world"].rpartition("-")[0], line["scenario"]


def scenarios(every: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The lines of each kind and scenario, in the order of ``TITLES``."""
    found = {key: [line for line in every if kind_of(line) == key] for key in TITLES}
    return {key: own for key, own in found.items() if own}


def entrants(own: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The lines of each entrant that ran, over seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in own:
        if line["entrant"] != "retrained" and "failed" not in line:
            found.setdefault(line["entrant"], []).append(line)
    return found


def share(ran: Sequence[dict[str, Any]]) -> float | None:
    """Median share of retraining's time; None of the original."""
    timed = [line["seconds"] / line["retraining_seconds"] for line in ran if "seconds" in line]
    return median(timed) if timed else None


def tables() -> str:
    """A table for each kind of world and scenario."""
    return "\n\n".join(
        f"## {TITLES[key]}\n\n{_retrained(own)}\n\n{_table(own)}" for key, own in scenarios(lines()).items()
    )


def _retrained(own: Sequence[dict[str, Any]]) -> str:
    among = [line for line in own if line["entrant"] == "retrained"]
    seeds = sorted(line["world"].rpartition("-")[2] for line in among)
    each = {key: [value for line in among for value in line[key]] for key in ("worst", "gap", "klom", "rejects")}
    took = median(line["retraining_seconds"] for line in among)
    return (
        f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}. {len(each['worst'])} retrained models: largest trace "
        f"{100 * min(each['worst']):.0f} to {100 * max(each['worst']):.0f} %, {sum(each['rejects'])} told; gap "
        f"{min(each['gap']):.1f} to {max(each['gap']):.1f} points; KLoM {min(each['klom']):.1f} to "
        f"{max(each['klom']):.1f}; one retraining took {took:.1f} s."
    )


def _table(own: Sequence[dict[str, Any]]) -> str:
    rows = sorted(entrants(own).items(), key=lambda item: median(line["worst"] for line in item[1]))
    shown = [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}"]
    return "\n".join([*shown, *(f"| {' | '.join(_row(name, ran))} |" for name, ran in rows)])


def _row(name: str, ran: Sequence[dict[str, Any]]) -> list[str]:
    mid, took = {key: median(line[key] for line in ran) for key in ("worst", "gap", "klom", "test")}, share(ran)
    told = sum(line["rejects"] for line in ran)
    return [
        _named(name, ran), f"{100 * mid['worst']:.0f} %", f"{told} of {len(ran)}", f"{mid['gap']:.1f}",
        f"{mid['klom']:.1f}", f"{mid['test']:.3f}", "-" if took is None else f"{100 * took:.0f} %",
    ]  # fmt: skip


def _named(name: str, ran: Sequence[dict[str, Any]]) -> str:
    kind, _, method = name.partition(":")
    if kind == "plan":
        return f"**plan's choice** ({', '.join(dict.fromkeys(line['chosen'] for line in ran))})"
    if kind == "forget":
        verdicts = ", ".join(line["verdict"] for line in ran)
        return f"**whole case** ({', '.join(dict.fromkeys(line['chosen'] for line in ran))}; {verdicts})"
    return f"{kind} {method}".strip()
