"""The benchmark of methods: ``python -m benchmarks.methods [--quick] [--workspace W]``; results in ``results/methods.json``.

Models, pools and finished entrants are kept in the workspace: stopped and called again, it goes on. ``--oracle-search``
adds what a search of a hundred trials that sees the retrained models reaches.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import results
from benchmarks.methods import answer, entrants, table
from benchmarks.methods.judge import Judge
from benchmarks.methods.worlds import KINDS, World
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.planning.track_record import Situation
from neuralyzer.workspace import atomic

FULL = [("digits", 31), ("digits", 32), ("digits", 33), ("digits-classes", 31), ("digits-classes", 32),
        ("digits-classes", 33), ("cifar10", 2), ("cifar10", 3), ("cifar10", 4), ("cifar10-classes", 2),
        ("cifar10-classes", 3), ("cifar10-classes", 4), ("adult", 0), ("adult", 1), ("adult", 2)]  # fmt: skip
QUICK = [("cifar10", 2)]
GPU = [("resnet18", 5), ("resnet18", 6), ("resnet18", 7)]
HOURS = {
    "digits": 0.3,
    "digits-classes": 0.3,
    "cifar10": 2.0,
    "cifar10-even": 2.0,
    "cifar10-classes": 2.0,
    "adult": 3.0,
    "resnet18": 2.0,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-benchmarks")
    parser.add_argument("--quick", action="store_true", help="one seed of CIFAR-10, two scenarios, nine algorithms")
    parser.add_argument("--worlds", nargs="*", help="such as digits-31 cifar10-2")
    parser.add_argument("--methods", nargs="*", help="algorithms; all but the exact ones by default")
    parser.add_argument("--unsearched", nargs="*", default=[], help="more of them, at their defaults alone")
    parser.add_argument("--finished", action="store_true", help="gather what was run already; run nothing more")
    parser.add_argument("--add", action="store_true", help="keep what the results file says of all else")
    parser.add_argument("--oracle-search", action="store_true", help="also a search that sees the answer; slow")
    parser.add_argument("--run", nargs=3, metavar=("WORLD", "SCENARIO", "ENTRANT"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.run:
        _child(options.workspace, *options.run)
        return
    asked = _worlds(options)
    methods = tuple(options.methods or (entrants.FIRST if options.quick else _every()))
    asked_for = list(entrants.names(methods, tuple(options.unsearched)))
    if not options.finished:
        todo = [(kind, seed) for kind, seed in asked if not _finished(options.workspace, kind, seed, asked_for)]
        hours = sum(HOURS[kind] for kind, _ in todo)
        print(f"{len(todo)} of {len(asked)} worlds are still to be run, about {hours:.1f} hours on two cores, "
              f"pools and retrained models included; kept in {options.workspace}", flush=True)  # fmt: skip
    lines: list[dict[str, Any]] = []
    for kind, seed in asked:
        lines += _world(World(kind, seed, options.workspace), methods, asked_for, options)
    short = [{key: value for key, value in line.items() if key != "trials"} for line in lines]  # the workspace has them
    name = "methods-quick" if options.quick else "methods"
    if options.add and results.path(name).exists():
        short = table.merged(results.read(name)["lines"], short)
    results.write(name, {"lines": short, "summary": table.summary(short)})


def _every() -> tuple[str, ...]:
    return tuple(name for name in catalogue.names() if name not in entrants.EXACT)


def _worlds(options: argparse.Namespace) -> list[tuple[str, int]]:
    if options.worlds:
        found = [(kind, int(seed)) for kind, _, seed in (name.rpartition("-") for name in options.worlds)]
        unknown = [kind for kind, _ in found if kind not in KINDS]
        if unknown:
            sys.exit(f"there is no world {unknown[0]!r}; there are {', '.join(KINDS)}")
        return found
    asked = QUICK if options.quick else FULL + (GPU if torch.cuda.is_available() else [])
    if not os.environ.get("NEURALYZER_DATA"):
        print("methods: NEURALYZER_DATA is not set, so only the digits are run")
        asked = [("digits", 31)] if options.quick else [own for own in asked if own[0].startswith("digits")]
    return asked


def _finished(root: Path, kind: str, seed: int, asked_for: list[str]) -> bool:
    world = root / f"{kind}-{seed}"
    scenarios = [own for own in (world / "runs").iterdir()] if (world / "runs").exists() else []
    return len(scenarios) >= 2 and all(
        (own / f"{_stem(entrant)}.json").exists() for own in scenarios for entrant in asked_for
    )


def _stem(entrant: str) -> str:
    """The name of an entrant's files."""
    return entrant.replace(":", "-")


def _world(
    world: World, methods: tuple[str, ...], asked_for: list[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    lines = []
    for scenario in world.scenarios:
        print(f"-- {world.name}, {scenario}", flush=True)
        retraining, judge = world.retraining_seconds(scenario), Judge(world, scenario)
        shared = {"world": world.name, "scenario": scenario, "retraining_seconds": retraining,
                  "situation": Situation.of(judge.task).to_dict()}  # fmt: skip
        lines.append(shared | {"entrant": "retrained"} | judge.spread())
        lines.append(shared | {"entrant": "original"} | judge.judge(world.oracle.model))
        for entrant in asked_for:
            for line in _entrant(world, scenario, entrant, judge, options.finished):
                lines.append(shared | line)
                print(table.line(lines[-1]), flush=True)
        if options.oracle_search:
            for method in methods:
                for line in answer.search(world, scenario, method, judge, options.finished):
                    lines.append(shared | line)
                    print(table.line(lines[-1]), flush=True)
    return lines


def _entrant(world: World, scenario: str, entrant: str, judge: Judge, finished: bool) -> list[dict[str, Any]]:
    """Run an entrant in a process of its own and judge what it left; an entrant that was judged is read again."""
    path = world.root / "runs" / scenario / f"{_stem(entrant)}.json"
    if path.exists():
        return list(atomic.read_json(path)["lines"])
    if finished:
        return []
    own = [sys.executable, "-m", "benchmarks.methods", "--workspace", str(world.root.parent), "--run", world.name,
           scenario, entrant]  # fmt: skip
    done = subprocess.run(own, check=False, capture_output=True, text=True)
    lines = []
    if done.returncode:
        lines.append({"entrant": entrant, "failed": done.stderr.strip().splitlines()[-1][:200]})
    else:
        for fact in json.loads(done.stdout.splitlines()[-1]):
            try:
                lines.append(fact | judge.judge(world.load(Path(fact.pop("weights")))))
            except Exception as error:  # noqa: BLE001  a peer may leave what cannot be read
                lines.append(fact | {"failed": f"{type(error).__name__}: {error}"[:200]})
    atomic.write_json(path, {"lines": lines})
    return lines


def _child(root: Path, name: str, scenario: str, entrant: str) -> None:
    kind, _, seed = name.rpartition("-")
    world, facts = World(kind, int(seed), root), []
    folder = root / name / "runs" / scenario

    def show(module: torch.nn.Module, own: dict[str, Any]) -> None:
        path = folder / f"{_stem(own['entrant'])}.safetensors"
        weights.save(module, path)
        facts.append(own | {"weights": str(path)})

    retraining = world.retraining_seconds(scenario)
    entrants.run(world, scenario, entrant, retraining, show)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([own | {"peak_bytes": peak} for own in facts], default=float))


if __name__ == "__main__":
    main()
