"""The benchmark of language models: ``python -m benchmarks.language [--workspace W] [--settings ...] [--only PART ...]``.

Bases, models and pools are made once, kept in the workspace, and gone on with where a run was stopped. Each part writes
its figures to ``benchmarks/results/language-PART.json``.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.calibration import figures
from benchmarks.calibration.judged import lines
from benchmarks.calibration.models import Made
from benchmarks.language import forgetting, settings, speed
from benchmarks.language.worlds import World

SECONDS = 45  # of a training on an idle core, from which the cost is said
FORGETTING = "lora"  # the setting in which algorithms are compared
Bench = Callable[[str], tuple[World, Made]]


def trust(bench: Bench, names: list[str]) -> dict[str, Any]:
    """Return how often really retrained models and originals are detected, and what would have been.

    Settings that are not measured now keep their last figures, since all together take hours.
    """
    known = results.read("language-trust") if results.path("language-trust").exists() else {}
    found = {name: known[name] for name in settings.SETTINGS if name in known}
    for name in names:
        _, made = bench(name)
        retrained, originals = (list(lines(made, (kind,))) for kind in ("retrained", "original"))
        found[name] = {
            "retrained detected": figures.rate(retrained, lambda line: line["rejects_counting"]),
            "originals detected": figures.rate(originals, lambda line: line["rejects_counting"]),
            "retrained traces": figures.intervals(retrained, 0.0), "original traces": figures.intervals(originals, 1.0),
            "words of retrained": figures.words(retrained), "words of originals": figures.words(originals),
            "finest detectable trace": float(np.median([figures.finest(line) for line in retrained])),
        }  # fmt: skip
    return found


def forgotten(bench: Bench, names: list[str]) -> dict[str, Any]:
    """Return each algorithm's figures over the authors."""
    world, made = bench(FORGETTING)
    seconds = forgetting.retraining_seconds(made)
    found: dict[str, list[dict[str, Any]]] = {}
    asked = max(entrant.authors for entrant in forgetting.ENTRANTS.values())
    for place, author in enumerate(world.authors[0][:asked]):
        for name, entrant in forgetting.ENTRANTS.items():
            if place < entrant.authors:
                found.setdefault(name, []).append(forgetting.attempt(world, made, (author,), name))
        print(f"{place + 1} of {asked} authors", flush=True)
    tables = {name: forgetting.table(own, seconds) for name, own in found.items()}
    return {"seconds of a training": seconds, "algorithms": tables}


def cost(bench: Bench, names: list[str]) -> dict[str, Any]:
    """Return speed and memory."""
    world, made = bench(FORGETTING)
    _ = made.oracle
    return speed.measured(world, made.pool / "oracle.safetensors")


PARTS: dict[str, Callable[[Bench, list[str]], dict[str, Any]]] = {
    "trust": trust, "forgetting": forgotten, "cost": cost,
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-language")
    parser.add_argument("--settings", nargs="*", default=list(settings.SETTINGS), choices=list(settings.SETTINGS))
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--seed", type=int, default=settings.SEED)
    options = parser.parse_args(argv)
    worlds: dict[str, tuple[World, Made]] = {}

    def bench(name: str) -> tuple[World, Made]:
        if name not in worlds:
            own, world = settings.made(name, options.workspace, options.seed)
            worlds[name] = own, Made(world, options.workspace)
        return worlds[name]

    todo = {name: len(bench(name)[1].missing()) + bench(name)[1].missing_members() for name in options.settings}
    hours = sum(todo.values()) * 1.5 * SECONDS / 2 / 3600
    print(f"{sum(todo.values())} models to train and read in {options.workspace}: about {hours:.1f} hours", flush=True)
    for name in options.settings:
        if todo[name] and "trust" in options.only:
            bench(name)[1].make()
    for part in options.only:
        print(f"-- {part}", flush=True)
        results.write(f"language-{part}", PARTS[part](bench, options.settings))


if __name__ == "__main__":
    main()
