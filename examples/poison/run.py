"""Take a back door out of a network: ``python examples/poison/run.py --out FOLDER``.

Several algorithms forget the poisoner's rows, at their papers' defaults and set by the search that all share; the judge is
the share of patched images that are taken for the target. Everything is kept in the folder: a run that was stopped goes
on where it was.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import oracle as own
from rich.console import Console
from rich.table import Table
from torch import nn

import neuralyzer as nz
from neuralyzer.methods import catalogue
from neuralyzer.models import reading, weights
from neuralyzer.unlearning.method import space
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.search import search
from neuralyzer.workspace import atomic

METHODS = ["datamodel-matching", "influence", "finetune", "ssd", "msg", "scrub", "random-label", "neggrad-plus"]
RETRAINED_SEEDS = (501, 502, 503)
SHARE = 0.5  # of a training: what the plan's first choice may take
GONE = 0.05  # of the patched images: a back door that works no more than this is taken for gone

Make = Callable[[], tuple[nn.Module, dict[str, Any]]]


class Kept:
    """Models by name in a folder, each made once and measured.

    Args:
        folder: where.
        like: a module of the same architecture.
        world: what they are measured on.
    """

    def __init__(self, folder: Path, like: nn.Module, world: own.Poisoned) -> None:
        self.folder, self.like, self.world = folder, like, world

    def __call__(self, name: str, make: Make) -> dict[str, Any]:
        """Accuracy, attack success rate, seconds, and what else ``make`` tells of a model."""
        facts = self.folder / f"{name}.json"
        if not facts.exists():
            began = time.perf_counter()
            module, told = make()
            told = {"seconds": time.perf_counter() - began} | told
            weights.save(module, facts.with_suffix(".safetensors"))
            atomic.write_json(facts, measured(module, self.world) | told)
        return dict(atomic.read_json(facts))

    def module(self, name: str) -> nn.Module:
        """A model that was made."""
        return weights.load_into(weights.clone(self.like), self.folder / f"{name}.safetensors").eval()


def main() -> None:
    """Train, forget by each algorithm and by the plan's choice, attack; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--size", type=int, default=24, help="references, both splits together")
    parser.add_argument("--methods", nargs="*", default=METHODS, help="which algorithms are tried beside the plan's")
    parser.add_argument("--trials", type=int, default=6, help="of the shared search for each; 0 for none")
    asked = parser.parse_args()
    place, world, recipe = nz.Workspace(asked.out), own.data(), own.recipe()
    kept = Kept(asked.out / "tried", recipe.module(), world)
    original = kept("original", lambda: (nz.TrainedModel.fit(recipe, world.train, world.holdout).model, {}))
    oracle = nz.TrainedModel(kept.module("original"), recipe, world.train, world.holdout)
    request = nz.ErasureRequest(
        subjects=[own.POISONER], reason="poison", budget=SHARE * original["seconds"], decided_by="head of security"
    )

    @cache  # asked for only while the case is open: once it is closed, its rows are no longer there
    def pool() -> nz.References:
        return nz.References.fit(oracle, asked.size, workspace=place)

    rows = request.positions(world.train)
    rest = world.train.select(np.setdiff1d(np.arange(len(world.train)), rows))
    retrained = [
        kept(f"retrained-{seed}", lambda seed=seed: (nz.TrainedModel.fit(own.recipe(seed), rest).model, {}))
        for seed in RETRAINED_SEEDS
    ]
    unhurried = nz.ErasureRequest(subjects=[own.POISONER], reason="poison")
    entrants: list[dict[str, Any]] = []
    for name in asked.methods:
        trials = [0, asked.trials] if asked.trials and space(catalogue.get(name)) else [0]
        for count in trials:
            task = cache(lambda: nz.Task(oracle, unhurried, pool()))
            entry = kept(
                f"{name}-{count or 'default'}", lambda name=name, count=count, task=task: unlearned(name, count, task())
            )
            entrants.append({"method": name, "searched": bool(count)} | entry)
            Console().print(f"{name}, {count} trials: {entry['attack']:.3f}", highlight=False)

    def planned() -> tuple[nn.Module, dict[str, Any]]:
        case = nz.forget(oracle, request, pool, place)
        done = case.result["unlearning"]
        attempts = [{key: one[key] for key in ("method", "seconds", "reason")} for one in done["attempts"]]
        told = {"method": done["method"], "verdict": str(case.verdict), "sentence": case.verification.sentence}
        told |= {"seconds": done["seconds"], "attempts": attempts, "certificate": str(case.certificate)}
        return case.model, told

    result = {
        "rows": len(world.train), "poisoned": len(rows), "gone": GONE, "original": original, "retrained": retrained,
        "plan": kept("plan", planned), "entrants": entrants,
    }  # fmt: skip
    (asked.out / "result.json").write_text(json.dumps(result, indent=2))
    show(result)


def unlearned(name: str, trials: int, task: nz.Task) -> tuple[nn.Module, dict[str, Any]]:
    """An algorithm at its defaults, or searched, and repaired where it is meant to be."""
    told: dict[str, Any] = {}
    method, began = catalogue.make(name), time.perf_counter()
    if trials:
        found = search(method, task, trials=trials)
        module, told = found.module, {"settings": found.settings}
    else:
        module = method.unlearn(task)
        module = Repair().mend(module, task) if method.repaired else module
    return module, told | {"seconds": time.perf_counter() - began}  # the references may be made before it began


def measured(model: nn.Module, world: own.Poisoned) -> dict[str, float]:
    """Accuracy on clean images, and the share of patched ones of other classes that are taken for the target."""
    objective = nz.Classification()
    said = reading.outputs(model, objective, world.attacked).argmax(1)
    return {
        "accuracy": reading.utility(model, objective, world.holdout),
        "attack": float((said == own.TARGET).double().mean()),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table and what the case came to."""
    table = Table(title=f"{result['poisoned']} of {result['rows']} images are poisoned", title_justify="left")
    table.add_column("model")
    for name in ("attack succeeds", "accuracy", "seconds", f"under {100 * GONE:.0f} %"):
        table.add_column(name, justify="right")

    def line(name: str, models: list[dict[str, Any]]) -> None:
        attack, accuracy, seconds = (np.mean([one[key] for one in models]) for key in ("attack", "accuracy", "seconds"))
        word = "yes" if attack < GONE else "no"
        table.add_row(name, f"{100 * attack:.1f} %", f"{100 * accuracy:.1f} %", f"{seconds:.1f}", word)

    line("original", [result["original"]])
    line(f"retrained ({len(result['retrained'])})", result["retrained"])
    line(f"plan: {result['plan']['method']}", [result["plan"]])
    for entry in result["entrants"]:
        line(f"{entry['method']}{', searched' if entry['searched'] else ''}", [entry])
    console, plan = Console(), result["plan"]
    console.print(table)
    console.print(f"{plan['verdict']} by {plan['method']}. {plan['sentence']}", highlight=False)
    for attempt in plan["attempts"]:
        console.print(f"  {attempt['method']}, {attempt['seconds']:.1f} s: {attempt['reason']}", highlight=False)


if __name__ == "__main__":
    main()
