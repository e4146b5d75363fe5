"""Claims on rows that no register holds: how often a model that saw them is found, how often one that did not alarms.

Twelve of the digits' thirty customers are hidden: the pool and its register are made without their rows. Each of
several Oracles really saw six of the twelve, drawn among the sixes of equally many steps, so that all are trained in
one stack; a second stack saw none, as where one claimant errs and the register is whole. Each claimant asks each
Oracle. The statistic was chosen on seed 30; the figures are of other seeds. Everything is kept in ``--workspace`` and
reused, so that a run that was stopped goes on.
"""

import argparse
import itertools
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import results
from neuralyzer.data.rows import Data
from neuralyzer.demo import digits
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.pool import References
from neuralyzer.references.training import stacked
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.claim import audit_rows
from neuralyzer.workspace import atomic
from neuralyzer.workspace.paths import Workspace

HIDDEN, SEEN, MIXED, WHOLE = 12, 6, 16, 8
SIZE, DRAWS = 64, 2000


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-benchmarks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32])
    options = parser.parse_args(argv)
    todo = [seed for seed in options.seeds if not (options.workspace / f"claims-{seed}" / "read.json").exists()]
    print(f"{len(todo)} of {len(options.seeds)} worlds to make, about 3 minutes and 60 MB each", flush=True)
    worlds = [_world(options.workspace / f"claims-{seed}", seed) for seed in options.seeds]
    results.write("claims", {"seeds": options.seeds, "members": SIZE, **_figures(worlds)})


def _world(folder: Path, seed: int) -> dict:
    """Every claimant's audit on every Oracle of one world."""
    done = folder / "read.json"
    if done.exists():
        return json.loads(done.read_text())
    data, holdout = digits.digits(seed)
    recipe, generator = digits.recipe(seed), np.random.default_rng(seed)
    hidden = np.sort(generator.choice(np.unique(data.subjects), HIDDEN, replace=False))
    register = data.select(~np.isin(data.subjects, hidden))
    blank = TrainedModel(recipe.module(0), recipe, register, holdout)
    pool = References.fit(
        blank, SIZE, workspace=Workspace(folder), backend="vectorised", seed=10_000 + 1000 * seed, keep_weights=True
    )
    saw = _draw(data, hidden, recipe, generator)
    claimants = [data.select(data.subjects == name) for name in hidden]
    alarms, traces, seconds, detectable = [], [], [], []
    for module in _oracles(folder, recipe, data, hidden, saw):
        oracle = TrainedModel(module, recipe, register, holdout)
        began = time.perf_counter()
        found = [audit_rows(oracle, rows, pool) for rows in claimants]
        seconds.append((time.perf_counter() - began) / HIDDEN)
        alarms.append([claim.verdict is Verdict.NOT_FORGOTTEN for claim in found])
        traces.append([{row["signal"]: row["trace"] for row in claim.families} for claim in found])
        detectable.append([min(row["detectable"] for row in claim.families) for claim in found])
        print(seed, len(alarms), f"{seconds[-1]:.2f} s a claim", flush=True)
    read = {
        "saw": saw.tolist(), "rows": [len(rows) for rows in claimants], "alarms": alarms, "traces": traces,
        "detectable": detectable, "seconds": seconds,
    }  # fmt: skip
    atomic.write_json(done, read)
    return read


def _draw(data: Data, hidden: np.ndarray, recipe: Recipe, generator: np.random.Generator) -> np.ndarray:
    """Which Oracle saw which claimant, ``(MIXED + WHOLE, HIDDEN)``."""
    rows = np.array([(data.subjects == name).sum() for name in hidden])
    sets = list(itertools.combinations(range(HIDDEN), SEEN))
    known = len(data) - rows.sum()
    steps = np.array([math.ceil((known + rows[list(own)].sum()) / recipe.batch_size) for own in sets])
    usual = np.flatnonzero(steps == np.bincount(steps).argmax())
    saw = np.zeros((MIXED + WHOLE, HIDDEN), dtype=bool)
    for line, chosen in enumerate(generator.choice(usual, MIXED, replace=False)):
        saw[line, list(sets[chosen])] = True
    return saw


def _oracles(folder: Path, recipe: Recipe, data: Data, hidden: np.ndarray, saw: np.ndarray) -> list:
    known = ~np.isin(data.subjects, hidden)
    kept = [np.flatnonzero(known | np.isin(data.subjects, hidden[line])) for line in saw]
    for stack in (range(MIXED), range(MIXED, MIXED + WHOLE)):
        paths = [folder / "oracles" / f"{number:02d}.safetensors" for number in stack]
        if not all(path.exists() for path in paths):
            seeds = [500 + number for number in stack]
            made = stacked.train_stack(recipe, data, [kept[number] for number in stack], seeds, Silent())
            for path, module in zip(paths, made, strict=True):
                weights.save(module, path)
    paths = sorted((folder / "oracles").glob("*.safetensors"))
    return [weights.load_into(recipe.module(), path).eval() for path in paths]


def _figures(worlds: list[dict]) -> dict:
    """Rates with intervals by a bootstrap over Oracles and claimants at once, within each world."""
    saw, alarms = ([np.array(world[key]) for world in worlds] for key in ("saw", "alarms"))
    mixed = [np.arange(len(one)) < MIXED for one in saw]
    unseen = [~one & which[:, None] for one, which in zip(saw, mixed, strict=True)]
    whole = [np.repeat(~which[:, None], HIDDEN, 1) for which in mixed]
    rows = np.concatenate([np.broadcast_to(w["rows"], one.shape)[one] for w, one in zip(worlds, saw, strict=True)])
    found = np.concatenate([alarm[one] for alarm, one in zip(alarms, saw, strict=True)])
    traces = [line for world in worlds for line in world["traces"]]
    flat = np.concatenate([one.ravel() for one in saw])
    reads = {
        name: [float(np.mean(_reads(traces, flat, name, which))) for which in (True, False)] for name in traces[0][0]
    }
    middle = float(np.median(rows))
    return {
        "power": _rate(alarms, saw), "false_alarms": _rate(alarms, unseen),
        "false_alarms_register_whole": _rate(alarms, whole),
        "power_by_rows": {
            f"up to {middle:.0f}": float(found[rows <= middle].mean()), f"over {middle:.0f}": float(found[rows > middle].mean()),
        },
        "rows": sorted(int(n) for world in worlds for n in world["rows"]),
        "trace_seen_and_unseen": reads, "seconds_a_claim": float(np.median([s for w in worlds for s in w["seconds"]])),
    }  # fmt: skip


def _reads(traces: list, flat: np.ndarray, name: str, which: bool) -> list[float]:
    values = [own[name] for line in traces for own in line]
    return [value for value, saw in zip(values, flat, strict=True) if saw == which]


def _rate(alarms: list[np.ndarray], of: list[np.ndarray]) -> dict:
    """Share of alarms among the pairs ``of``, with its 95 % interval."""
    generator = np.random.default_rng(0)

    def share(draw: bool) -> float:
        hits = pairs = 0
        for alarm, which in zip(alarms, of, strict=True):
            lines, columns = np.arange(len(alarm)), np.arange(HIDDEN)
            if draw:
                lines = generator.choice(lines, len(lines))
                columns = generator.choice(columns, HIDDEN)
            chosen = which[np.ix_(lines, columns)]
            hits += int((alarm[np.ix_(lines, columns)] & chosen).sum())
            pairs += int(chosen.sum())
        return hits / max(pairs, 1)

    low, high = np.quantile([share(True) for _ in range(DRAWS)], [0.025, 0.975])
    return {"share": share(False), "low": float(low), "high": float(high), "pairs": int(sum(one.sum() for one in of))}


if __name__ == "__main__":
    main()
