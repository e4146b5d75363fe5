"""Requests of many people with one row each: how often is a really retrained model told, and how often the original?

``python -m benchmarks.groups [--workspace W] [--quick]``. Models are made once, kept in the workspace, and gone on with
where a run was stopped. The estimate was built on Adult by seed 1 and 8,000 people; these are other seeds. Adult comes
from NEURALYZER_DATA and is left out where that is unset.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from torch import nn

from benchmarks import results
from benchmarks.calibration.figures import wilson
from benchmarks.calibration.worlds import _adamw
from neuralyzer.data.rows import Data
from neuralyzer.demo import digits
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.pool import References
from neuralyzer.references.training import backends
from neuralyzer.signals.signal import Batch
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.trace.residual import POWER_QUANTILE
from neuralyzer.trace.verdict import FIRST_ACCESS, Verdict, counting, decide
from neuralyzer.verification.audit import required
from neuralyzer.verification.controls import Controls, groups_of, original_control
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.policy import Policy

ALPHA, FIRST_SEED, ORIGINALS = 0.05, 950_000, 8
SEED = 52  # of worlds that nothing was set by; 1 to 3 and 51 told what the screen should refuse
CALLED = ("age", "workclass", "education", "marital-status", "occupation", "relationship", "race", "native-country")


@dataclass(frozen=True)
class World:
    """Single people, groups of them drawn at random, and groups that a predicate chooses."""

    name: str
    recipe: Recipe
    data: Data
    holdout: Data
    sizes: tuple[int, ...]
    models: int  # really retrained ones, a size
    predicates: dict[str, np.ndarray]
    repeats: int  # really retrained ones, a predicate


def _adult_net(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def adult(seed: int, models: int, people: int | None = None) -> World:
    """UCI Adult, every row a person."""
    folder = Path(os.environ["NEURALYZER_DATA"]) / "adult"
    train, test = (parquet.read_table(folder / f"{part}.parquet") for part in ("train", "test"))
    x, y = _encoded(pa.concat_tables([train, test]))
    generator = np.random.default_rng(seed)
    own = np.sort(generator.permutation(len(train))[:people])
    outside = len(train) + np.sort(generator.permutation(len(test))[:4000])
    data = Data.from_arrays(x[own], y[own], [f"person-{k}" for k in own], [f"row-{k}" for k in own])
    holdout = Data.from_arrays(x[outside], y[outside], ids=[f"row-{k}" for k in outside])
    recipe = Recipe(
        partial(_adult_net, x.shape[1]), optimizer=partial(_adamw, rate=1e-3), epochs=30, batch_size=64, seed=seed
    )
    sizes = tuple(size for size in (30, 100, 300, 1000, 3000) if size < 0.15 * len(own))
    return World(
        f"adult-{seed}-{len(own)}", recipe, data, holdout, sizes, models, _predicates(train.take(own), seed), 3
    )


def _encoded(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in standard deviations, and a column a category."""
    columns = []
    for name in table.column_names:
        if name in ("person", "income"):
            continue
        values = table[name]
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            names, codes = np.unique(values.to_pylist(), return_inverse=True)
            columns.append(np.eye(len(names), dtype=np.float32)[codes])
        else:
            own = values.to_numpy().astype(np.float64)
            columns.append(((own - own.mean()) / own.std())[:, None].astype(np.float32))
    return np.concatenate(columns, 1), np.array([">50K" in str(v) for v in table["income"].to_pylist()], dtype=np.int64)


def _predicates(table: pa.Table, seed: int) -> dict[str, np.ndarray]:
    """Sixteen drawn from all that a category's value chooses, between 60 rows and a seventh of all."""
    found = {}
    for name in CALLED:
        values = table[name].to_pylist()
        for value in sorted(set(values), key=str):
            rows = np.flatnonzero([own == value for own in values])
            if 60 <= len(rows) <= len(values) / 7:
                found[f"{name} = {value}"] = rows
    chosen = np.sort(np.random.default_rng(seed).permutation(len(found))[:16])
    return {name: found[name] for name in np.array(sorted(found))[chosen].tolist()}


def digits_of_one(seed: int, models: int) -> World:
    """Digits with a subject a row; the demo's recipe; a predicate chooses a digit."""
    data, holdout = digits.digits(seed)
    own = Data.from_arrays(data.x.numpy(), data.y.numpy(), [f"person-{k}" for k in range(len(data))], data.ids)
    chosen = {f"digit = {d}": np.flatnonzero(own.y.numpy() == d) for d in range(0, 10, 3)}
    return World(f"digits-{seed}", digits.recipe(seed), own, holdout, (30, 100), models, chosen, 2)


class Made:
    """A world's pool and models in a folder."""

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.root = world, root / world.name
        generator = np.random.default_rng([FIRST_SEED, world.recipe.seed])
        n = len(world.data)
        self.jobs: list[tuple[str, np.ndarray]] = []
        for size in world.sizes:
            for _ in range(world.models):
                self.jobs.append((f"{size} at random", np.sort(generator.permutation(n)[:size])))
        for name, rows in world.predicates.items():
            self.jobs += [(name, rows)] * world.repeats
        self.jobs += [("originals", np.empty(0, np.int64))] * ORIGINALS

    def oracle(self) -> TrainedModel:
        path, world = self.root / "oracle.safetensors", self.world
        if not path.exists():
            weights.save(TrainedModel.fit(world.recipe, world.data).model, path)
        return TrainedModel.load(world.recipe, path, world.data, world.holdout)

    def make(self) -> tuple[TrainedModel, References]:
        """Train what is missing."""
        began, world = time.perf_counter(), self.world
        oracle = self.oracle()
        pool = References.fit(oracle, 64, workspace=Workspace(self.root), seed=20_000 + 1000 * world.recipe.seed)
        todo = [k for k in range(len(self.jobs)) if not self._path(k).exists()]
        every = np.arange(len(world.data))
        kept = [np.setdiff1d(every, self.jobs[k][1]) for k in todo]
        backend = backends.choose(world.recipe, world.data, kept)[0] if todo else backends.Backend.VECTORISED
        for chunk in backends.chunks(world.recipe, backend, world.data, [len(own) for own in kept]):
            own = [todo[place] for place in chunk]
            rows, seeds = [kept[place] for place in chunk], [FIRST_SEED + k for k in own]
            trained = backends.train(backend, world.recipe, world.data, rows, seeds, Silent())
            for k, module in zip(own, trained, strict=True):
                weights.save(module, self._path(k))
            print(f"{world.name}: {own[-1] + 1} of {len(self.jobs)}, {time.perf_counter() - began:.0f} s", flush=True)
        return oracle, pool

    def _path(self, k: int) -> Path:
        return self.root / "models" / f"{k:04d}.safetensors"

    def readings(self, pool: References, k: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """One model's on every row and the holdout."""
        module = weights.load_into(self.world.recipe.module(), self._path(k)).eval()
        return pool.tuning.evaluator.read_rows(module, Batch(self.world.data.x, self.world.data.y))


@dataclass(frozen=True)
class Judged:
    """A request on one split, its protocol declared on the other."""

    made: Made
    pool: References
    oracle: TrainedModel
    rows: np.ndarray
    split: str
    original: dict[str, tuple[np.ndarray, np.ndarray]]

    def _gauge(self, split: str, found: float) -> Any:
        return estimator_for(
            self.pool.evaluation if split == "judging" else self.pool.tuning, self.pool.parts(self.rows), ALPHA, found
        )

    @cached_property
    def estimator(self) -> Any:
        return self._gauge(self.split, FIRST_ACCESS)

    @cached_property
    def declaring(self) -> Any:
        return self._gauge("tuning" if self.split == "judging" else "judging", POWER_QUANTILE)

    @cached_property
    def obstacle(self) -> str | None:
        return self.declaring.obstacle

    @cached_property
    def counts(self) -> tuple[str, ...]:
        return counting(self.declaring.estimate(self._read(self.original)).detectable)

    @cached_property
    def original_rejected(self) -> bool:
        read = self._read(self.original)
        return any(estimator.estimate(read, self.counts).rejects for estimator in (self.declaring, self.estimator))

    @cached_property
    def controls(self) -> Controls:
        check = self.estimator.self_check(self.estimator.joint_signals(self.counts), groups_of(self.pool))
        return Controls(check, original_control(self.pool, self.oracle, self.estimator.parts, ALPHA, self.split))

    def _read(self, values: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Reading]:
        parts = self.estimator.parts
        return {
            name: Reading([values[name][0][part.rows] for part in parts], [values[name][1]] * len(parts))
            for name in self.estimator.signals
        }

    def judge(self, values: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[Any, str]:
        """What is read of a model, and the verdict."""
        found = self.estimator.estimate(self._read(values), self.counts)
        if self.obstacle is not None:
            return found, str(Verdict.INCONCLUSIVE)
        verdict = decide(
            rejects=found.rejects, original_rejected=self.original_rejected,
            detectable=self.controls.corrected(found.detectable), counts=self.counts, required=required(self.estimator),
            max_trace=Policy().max_trace, alarmed=self.controls.alarmed, missed=self.controls.missed,
        )  # fmt: skip
        return found, str(verdict)


def lines(made: Made) -> Iterator[dict[str, Any]]:
    """A line for every retrained model and split, with what originals read on the same rows."""
    oracle, pool = made.make()
    first = len(made.jobs) - ORIGINALS
    originals = [made.readings(pool, k) for k in range(first, len(made.jobs))]
    for k in range(first):
        name, rows = made.jobs[k]
        own = made.readings(pool, k)
        for split in ("judging", "tuning"):
            judged, began = Judged(made, pool, oracle, rows, split, originals[0]), time.perf_counter()
            found, verdict = judged.judge(own)
            seconds = time.perf_counter() - began
            every = [judged.judge(original) for original in originals]
            detectable = judged.controls.corrected(found.detectable)
            yield {
                "group": name, "rows": len(rows), "split": split, "rejects": found.rejects, "verdict": verdict,
                "obstacle": judged.obstacle, "p": found.joint.p_value,
                "traces": {s: [t.trace, t.se, detectable[s]] for s, t in found.traces.items()},
                "originals": [one.rejects for one, _ in every], "original verdicts": [word for _, word in every],
                "original traces": {s: [one.traces[s].trace for one, _ in every] for s in judged.estimator.signals},
                "controls": [judged.controls.alarmed, judged.controls.missed], "seconds": seconds,
            }  # fmt: skip


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """By group: rates with Wilson's intervals, and mean traces."""
    table = {}
    for name in dict.fromkeys(line["group"] for line in found):
        own = [line for line in found if line["group"] == name]
        judging = [line for line in own if line["split"] == "judging"]
        originals = [hit for line in judging for hit in line["originals"]]
        signals = own[0]["traces"]
        table[name] = {
            "rows": own[0]["rows"], "models": len(judging), "answered": sum(x["obstacle"] is None for x in judging),
            "false alarms": _rate([line["rejects"] for line in judging]),
            "false alarms, both splits": _rate([line["rejects"] for line in own]),
            "originals found": float(np.mean(originals)),
            "verdicts": {v: [x["verdict"] for x in judging].count(v) for v in {x["verdict"] for x in judging}},
            "originals' verdicts": _words(judging),
            "trace": {s: float(np.mean([x["traces"][s][0] for x in own])) for s in signals},
            "spread over se": {
                s: float(np.sqrt(np.mean([(x["traces"][s][0] / x["traces"][s][1]) ** 2 for x in own]))) for s in signals
            },
            "original's trace": {s: float(np.mean([x["original traces"][s] for x in own])) for s in signals},
            "detectable": {s: float(np.median([x["traces"][s][2] for x in own])) for s in signals},
            "control failed": [int(sum(x["controls"][k] for x in own)) for k in (0, 1)],
            "seconds": float(np.median([x["seconds"] for x in own])),
        }  # fmt: skip
    return table


def _words(judging: list[dict[str, Any]]) -> dict[str, int]:
    said = [word for line in judging for word in line["original verdicts"]]
    return {word: said.count(word) for word in sorted(set(said))}


def _rate(hits: list[bool]) -> dict[str, Any]:
    return {"share": float(np.mean(hits)), "wilson": wilson(sum(hits), len(hits)), "cases": len(hits)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-groups")
    parser.add_argument("--quick", action="store_true", help="8,000 people and six models a size, some minutes")
    parser.add_argument("--only", choices=("adult", "digits"))
    options = parser.parse_args(argv)
    models = 6 if options.quick else 40
    worlds = [] if options.only == "adult" else [digits_of_one(SEED, models)]
    if "NEURALYZER_DATA" in os.environ and options.only != "digits":
        worlds.append(adult(SEED, models, 8000 if options.quick else None))
    found = {}
    for world in worlds:
        found[world.name] = summary(list(lines(Made(world, options.workspace))))
        print(world.name, flush=True)
    results.write("groups-quick" if options.quick else "groups", found)


if __name__ == "__main__":
    main()
