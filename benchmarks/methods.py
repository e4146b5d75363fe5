"""What each algorithm leaves behind and costs on the digits demo's world: the figures of ``Method.expected``.

On seeds and subjects other than the demo's own. The largest absolute trace over the families is read on the judging
half; utility against models really retrained without the subject would be the demo's, here against the references
that never saw it. Pools are kept in ``--workspace`` and reused.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import results
from neuralyzer.cases.screen import Blind
from neuralyzer.data.request import ErasureRequest
from neuralyzer.demo import digits
from neuralyzer.demo.run import train_oracle
from neuralyzer.methods import catalogue
from neuralyzer.methods.repair import Repair
from neuralyzer.methods.task import Task
from neuralyzer.models import reading
from neuralyzer.references.pool import References
from neuralyzer.trace.gauge import Gauge
from neuralyzer.workspace.paths import Workspace

METHODS = tuple(name for name in catalogue.names() if name not in ("retrain", "rollback"))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-benchmarks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--subjects", type=int, default=30)
    options = parser.parse_args(argv)
    lines = []
    for seed in options.seeds:
        lines += _world(options.workspace / f"digits-{seed}", seed, options.subjects)
    table = {}
    for method in METHODS:
        own = [line for line in lines if line["method"] == method]
        table[method] = {
            "subjects": len(own),
            "not_rejected": float(np.mean([not line["rejects"] for line in own])),
            "trace_mean": {name: float(np.mean([line["traces"][name] for line in own])) for name in own[0]["traces"]},
            "largest_trace_median": float(np.median([line["largest"] for line in own])),
            "relearned_minus_margin_median": float(
                np.median([line["traces"]["relearned"] - line["traces"]["margin"] for line in own])
            ),
            "utility_loss_mean": float(np.mean([line["loss"] for line in own])),
            "seconds_median": float(np.median([line["seconds"] for line in own])),
        }
    originals = {line["subject"]: line["original_rejects"] for line in lines}
    results.write(
        "methods", {"seeds": options.seeds, "methods": table, "power": float(np.mean(list(originals.values())))}
    )


def _world(folder: Path, seed: int, count: int) -> list[dict]:
    place = Workspace(folder)
    data, holdout = digits.digits(seed)
    recipe = digits.recipe(seed)
    oracle = train_oracle(place, recipe, data, holdout, Blind())
    pool = References.fit(oracle, 64, workspace=place, backend="vectorised", seed=10_000 + 1000 * seed)
    lines = []
    for subject in np.unique(data.subjects)[:count]:
        task = Task(oracle, ErasureRequest(subjects=[str(subject)]), pool)
        gauge = Gauge(pool.judging, task.parts, 0.05)
        before = gauge.read(oracle.model).rejects
        for name in METHODS:
            method = catalogue.make(name)
            began = time.perf_counter()
            module = method.unlearn(task)
            module = Repair().mend(module, task) if method.repaired else module
            seconds = time.perf_counter() - began
            read = gauge.read(module)
            traces = {signal: trace.trace for signal, trace in read.traces.items()}
            utility = reading.utility(module, recipe.objective, holdout)
            lines.append(
                {
                    "subject": f"{seed} {subject}", "method": name, "rejects": read.rejects, "seconds": seconds,
                    "largest": max(abs(value) for value in traces.values()), "loss": task.predicted_utility - utility,
                    "traces": traces, "original_rejects": before,
                }
            )  # fmt: skip
            print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
