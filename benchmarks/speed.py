"""Unlearning against retraining on CIFAR-10 and Adult: seconds, memory, verdicts; and an audit with a ready pool.

The recipes are those of ``examples/``, whose one training takes a minute or more on two cores. Pools are kept in
``--workspace`` and gone on with. Each step runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import neuralyzer as nz
from benchmarks import examples, results
from neuralyzer.influence import kept
from neuralyzer.methods import catalogue
from neuralyzer.models import reading, threads, training, weights
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task
from neuralyzer.verification.verification import Verification

MEMBERS = {"cifar10": 32, "adult": 64}
REQUESTS = {"cifar10": 5, "adult": 3}
SEEDS = {"cifar10": (2,), "adult": ()}  # of the data that are drawn
BUDGET = 6.0  # seconds: a tenth of the minute that a training takes at the least
PEOPLE = 300  # of Adult, that withdraw together


class World:
    """An example's data, recipe and pool in a folder."""

    def __init__(self, name: str, root: Path) -> None:
        module = examples.oracle(name)
        self.name, self.root = name, root / name
        self.data, self.holdout = module.data(*SEEDS[name])
        self.recipe = module.recipe(*SEEDS[name])

    def oracle(self) -> nz.TrainedModel:
        path = self.root / "oracle.safetensors"
        if path.exists():
            return nz.TrainedModel.load(self.recipe, path, self.data, self.holdout)
        oracle = nz.TrainedModel.fit(self.recipe, self.data, self.holdout)
        weights.save(oracle.model, path)
        return oracle

    def references(self, oracle: nz.TrainedModel) -> nz.References:
        references = nz.References.fit(oracle, MEMBERS[self.name], workspace=nz.Workspace(self.root), unchecked=True)
        kept.factors(oracle, references.store.curvature)  # as 'neuralyzer references' does once the pool is there
        return references

    def request(self, number: int) -> nz.ErasureRequest:
        if self.name == "cifar10":
            return nz.ErasureRequest(subjects=[f"person-{number:03d}"], budget=BUDGET)
        chosen = np.random.default_rng(100 + number).choice(self.data.ids, PEOPLE, replace=False)
        return nz.ErasureRequest(rows=chosen.tolist(), budget=BUDGET)


def train(world: World, argument: int) -> dict[str, Any]:
    """A retraining without the rows of all requests, judged on each as an unlearned model is."""
    requests = [world.request(number) for number in range(REQUESTS[world.name])]
    gone = np.concatenate([request.positions(world.data) for request in requests])
    retained = world.data.select(np.setdiff1d(np.arange(len(world.data)), gone))
    began = time.perf_counter()
    module = training.train(world.recipe, retained, 777)
    seconds = time.perf_counter() - began
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    oracle = world.oracle()
    references = nz.References.open(next((world.root / "references").iterdir()), oracle)
    judged = [nz.verify(module, oracle, request, references) for request in requests]
    return {
        "seconds": seconds, "utility": reading.utility(module, world.recipe.objective, world.holdout),
        "peak_bytes": peak, "verdicts": [str(one.verdict) for one in judged], "traces": [traces(one) for one in judged],
    }  # fmt: skip


def traces(judged: Verification) -> dict[str, float]:
    """What is left by each family's signal."""
    return {row["signal"]: row["unlearned"] for row in judged.to_dict()["families"]}


def audit(world: World, argument: int) -> dict[str, Any]:
    """Two audits with a ready pool: the first of a process makes the tables of the null, the next has them."""
    oracle = world.oracle()
    references = nz.References.open(next((world.root / "references").iterdir()), oracle)
    took = []
    for number in (0, 1):
        request = world.request(number) if world.name == "cifar10" else nz.ErasureRequest(rows=[world.data.ids[number]])
        began = time.perf_counter()
        found = nz.audit(oracle, request, references)
        took.append(time.perf_counter() - began)
    return {"seconds": took, "verdict": str(found.verdict)}


def factors(world: World, argument: int) -> dict[str, Any]:
    """The model's curvature, which is measured once, with the pool."""
    oracle = world.oracle()
    began = time.perf_counter()
    kept.factors(oracle)
    return {"seconds": time.perf_counter() - began}


def unlearn(world: World, number: int) -> dict[str, Any]:
    """One request by the method that the plan takes within a tenth of a retraining, judged once."""
    oracle = world.oracle()
    references = nz.References.open(next((world.root / "references").iterdir()), oracle)
    request = world.request(number)
    before = nz.audit(oracle, request, references)
    task = Task(oracle, request, references)
    method = catalogue.make("datamodel-matching")
    ready = task.factors_kept
    began = time.perf_counter()
    module = method.unlearn(task)
    module = Repair().mend(module, task) if method.repaired else module
    seconds = time.perf_counter() - began
    judged = nz.verify(module, oracle, request, references)
    return {
        "seconds": seconds, "factors_ready": ready, "original": str(before.verdict), "verdict": str(judged.verdict),
        "traces": traces(judged),
        "utility": reading.utility(module, world.recipe.objective, world.holdout),
        "utility_before": reading.utility(oracle.model, world.recipe.objective, world.holdout),
    }  # fmt: skip


def case(world: World, number: int) -> dict[str, Any]:
    """A whole case on a copy of the pool, which loses the rows: from the request to certificate and report."""
    with tempfile.TemporaryDirectory() as folder:
        place = nz.Workspace(Path(folder) / world.name)
        shutil.copytree(world.root, place.root)
        oracle = world.oracle()
        references = nz.References.open(next((place.root / "references").iterdir()), oracle)
        began = time.perf_counter()
        done = nz.forget(oracle, world.request(number), references, place)
        return {
            "seconds": time.perf_counter() - began, "verdict": str(done.verdict),
            "method": done.result["unlearning"]["method"], "unlearning": done.result["unlearning"]["seconds"],
            "attempts": len(done.result["unlearning"]["attempts"]),
        }  # fmt: skip


STEPS = {"train": train, "audit": audit, "factors": factors, "unlearn": unlearn, "case": case}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-benchmarks")
    parser.add_argument("--worlds", nargs="*", default=list(MEMBERS))
    parser.add_argument("--step", nargs=3, metavar=("WORLD", "STEP", "NUMBER"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not os.environ.get("NEURALYZER_DATA"):
        print("speed: skipped, NEURALYZER_DATA is not set")
        return
    if options.step:
        world, step, number = options.step
        own = World(world, options.workspace)
        chosen = threads.settled(nz.Workspace(own.root).threads, own.recipe, own.data)
        with threads.using(chosen.count):  # both sides of a ratio by what is fastest
            found = STEPS[step](own, int(number)) | {"threads": chosen.count}
        found.setdefault("peak_bytes", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        print(json.dumps(found, default=float))
        return
    measured = {}
    for name in options.worlds:
        world = World(name, options.workspace)
        print(f"{name}: pool in {world.root}; making it takes about half an hour on two cores", flush=True)
        world.references(world.oracle())
        measured[name] = compared(name, options.workspace)
        print(json.dumps(measured[name], indent=1), flush=True)
    results.write("speed", measured)


def compared(name: str, workspace: Path) -> dict[str, Any]:
    """All steps of a world, each in a process of its own."""

    def step(kind: str, number: int = 0) -> dict[str, Any]:
        own = [
            sys.executable,
            "-m",
            "benchmarks.speed",
            "--workspace",
            str(workspace),
            "--step",
            name,
            kind,
            str(number),
        ]
        done = subprocess.run(own, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    retrained, audited = step("train"), step("audit")
    requests = [step("unlearn", number) for number in range(REQUESTS[name])]
    cases = [step("case", number) for number in range(REQUESTS[name])]
    seconds = float(np.median([one["seconds"] for one in requests]))
    return {
        "retraining": retrained, "audit": audited, "factors": step("factors"), "requests": requests, "unlearning_seconds": seconds,
        "cases": cases,
        "case_over_retraining": float(np.median([one["seconds"] for one in cases])) / retrained["seconds"],
        "times_faster": retrained["seconds"] / seconds,
        "slowest_times_faster": retrained["seconds"] / max(one["seconds"] for one in requests),
        "peak_memory_ratio": max(one["peak_bytes"] for one in requests) / retrained["peak_bytes"],
        "rejected": sum(one["verdict"] == "not forgotten" for one in requests),
        "utility": float(np.mean([one["utility"] for one in requests])),
    }  # fmt: skip


if __name__ == "__main__":
    main()
