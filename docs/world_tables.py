"""The short leaderboard: one table per world, its scenarios side by side; ``generate.py`` puts it into the docs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

import left_behind
from left_behind import Line

WORLDS = {
    "digits": ("Digits", (("ten", "ten people"), ("one", "one person"))),
    "digits-classes": ("Digits with classes", (("class", "a class"), ("half", "half a class"))),
    "cifar10": ("CIFAR-10 in its batches of 128", (("ten", "ten people"), ("one", "one person"))),
    "cifar10-even": ("CIFAR-10 in even batches of 125", (("ten", "ten people"), ("one", "one person"))),
    "cifar10-classes": ("CIFAR-10 with classes", (("class", "a class"), ("half", "half a class"))),
    "adult": ("Adult", (("ten", "3,250 people"), ("one", "325 people"))),
}
Cells = tuple[str, str, str]  # trace, gap, time
NOTHING: Cells = ("", "", "")  # an entrant that did not run here


def tables() -> str:
    """Return a heading, a caption and a table for each world, as Markdown."""
    every = left_behind.scenarios(left_behind.lines())
    return "\n\n".join(
        _world(title, [(name, every[world, scenario]) for scenario, name in scenarios])
        for world, (title, scenarios) in WORLDS.items()
    )


def best_peer(ran: dict[str, list[Line]]) -> str | None:
    """Return the strategy of erasus that leaves the least trace, as an entrant; None where none ran."""
    peers = [name for name in ran if name.startswith("erasus:")]
    return min(peers, key=lambda name: left_behind.middle(ran[name], "worst"), default=None)


def _world(title: str, scenarios: Sequence[tuple[str, list[Line]]]) -> str:
    ran = [left_behind.entrants(own) for _, own in scenarios]
    head = ["entrant", *(column for name, _ in scenarios for column in (f"{name}: trace", "gap", "time"))]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for label, cells in _rows([own for _, own in scenarios], ran):
        lines.append(f"| {label} | {' | '.join(cell for group in cells for cell in group)} |")
    return "\n\n".join([f"## {title}", _caption(scenarios, ran), "\n".join(lines)])


def _rows(
    scenarios: Sequence[list[Line]], ran: Sequence[dict[str, list[Line]]]
) -> Iterator[tuple[str, Sequence[Cells]]]:
    def row(name: str) -> list[Cells]:
        return [_cells(own[name]) if name in own else NOTHING for own in ran]

    yield "original", row("original")
    yield "retrained models, range", [_retrained(own) for own in scenarios]
    chosen = dict.fromkeys(line["chosen"] for own in ran for line in own.get("plan:", []))
    yield f"**plan's choice** ({', '.join(f'`{name}`' for name in chosen)})", row("plan:")
    yield "**whole case**", row("forget:")
    defaults = {name for own in ran for name in own if name.startswith("default:")}
    for name in sorted(defaults, key=lambda name: [_trace(own, name) for own in ran]):
        yield f"`{name.partition(':')[2]}`", row(name)
    peers = [best_peer(own) for own in ran]
    if any(peers):
        strategies = ", ".join(dict.fromkeys(f"`{name.partition(':')[2]}`" for name in peers if name))
        cells = [_cells(own[name]) if name else NOTHING for own, name in zip(ran, peers, strict=True)]
        yield f"best of erasus ({strategies})", cells


def _trace(ran: dict[str, list[Line]], name: str) -> float:
    return left_behind.middle(ran[name], "worst") if name in ran else float("inf")


def _cells(ran: Sequence[Line]) -> Cells:
    took = left_behind.share(ran)
    return (
        f"{100 * left_behind.middle(ran, 'worst'):.0f} %",
        f"{left_behind.middle(ran, 'gap'):.1f}",
        "" if took is None else f"{100 * took:.0f} %",
    )


def _retrained(own: Sequence[Line]) -> Cells:
    worst, gap = left_behind.retrained(own, "worst"), left_behind.retrained(own, "gap")
    return f"{100 * min(worst):.0f} to {100 * max(worst):.0f} %", f"{min(gap):.1f} to {max(gap):.1f}", "100 %"


def _caption(scenarios: Sequence[tuple[str, list[Line]]], ran: Sequence[dict[str, list[Line]]]) -> str:
    seeds = sorted({line["world"].rpartition("-")[2] for _, own in scenarios for line in own})
    took = median(line["retraining_seconds"] for _, own in scenarios for line in own if line["entrant"] == "retrained")
    ended = []
    for (name, _), own in zip(scenarios, ran, strict=True):
        words = Counter((line["verdict"], line["chosen"]) for line in own.get("forget:", []))
        ended.append(f"{name}: {', '.join(f'{count} {word} (`{by}`)' for (word, by), count in words.most_common())}")
    plural = "s" if len(seeds) > 1 else ""
    return (
        f"Seed{plural} {', '.join(seeds)}. One retraining takes {took:.1f} s. The whole cases end, with the last method "
        f"in brackets: {'; '.join(ended)}."
    )
