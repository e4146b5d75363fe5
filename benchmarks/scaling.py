"""Cost against size: a pool, an audit and an unlearning at four sizes of data and four of the model, in one run.

Seconds are divided by those of the smallest size, and the exponent is the slope of a line through their logarithms.
Rows are drawn from overlapping classes, twenty-five a subject; networks have two hidden layers.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import neuralyzer as nz
from benchmarks import results
from neuralyzer.methods import catalogue
from neuralyzer.unlearning.task import Task

FEATURES, CLASSES, A_SUBJECT, HOLDOUT, MEMBERS = 32, 5, 25, 400, 24
ROWS, WIDTH = (1000, 2000, 4000, 8000), (32, 64, 128, 256)
SMALL_ROWS, SMALL_WIDTH = 1000, 32


def net(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES)
    )


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(CLASSES, FEATURES)) * 0.6
    y = generator.integers(CLASSES, size=count)
    return (centres[y] + generator.normal(size=(count, FEATURES))).astype(np.float32), y


def measured(count: int, width: int) -> dict[str, float]:
    x, y = rows(count, 1)
    subjects = np.repeat([f"s{k}" for k in range(count // A_SUBJECT)], A_SUBJECT)
    data, holdout = nz.Data.from_arrays(x, y, subjects), nz.Data.from_arrays(*rows(HOLDOUT, 2))
    recipe = nz.Recipe(
        partial(net, width), optimizer=lambda ps: torch.optim.AdamW(ps, 1e-3, fused=True), epochs=20, batch_size=64
    )
    oracle = nz.TrainedModel.fit(recipe, data, holdout)
    references, pool = _timed(lambda: nz.References.fit(oracle, MEMBERS))
    request = nz.ErasureRequest(subjects=["s3"])
    _, first = _timed(lambda: nz.audit(oracle, request, references))
    _, later = _timed(lambda: nz.audit(oracle, nz.ErasureRequest(subjects=["s5"]), references))
    task = Task(oracle, request, references)
    _, unlearning = _timed(lambda: catalogue.make("datamodel-matching", damping=3e-4, steps=6).unlearn(task))
    parameters = sum(p.numel() for p in oracle.model.parameters())
    return {
        "rows": count, "width": width, "parameters": parameters, "training": oracle.seconds or 0.0, "pool": pool,
        "first audit": first, "audit": later, "unlearning": unlearning,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    measured(SMALL_ROWS // 2, SMALL_WIDTH)  # warms up
    by_rows = [measured(count, SMALL_WIDTH) for count in ROWS]
    by_width = [measured(SMALL_ROWS, width) for width in WIDTH]
    costs = ("training", "pool", "first audit", "audit", "unlearning")
    results.write(
        "scaling",
        {
            "rows": by_rows, "width": by_width,
            "exponent_of_rows": {cost: exponent(by_rows, "rows", cost) for cost in costs},
            "exponent_of_parameters": {cost: exponent(by_width, "parameters", cost) for cost in costs},
        },
    )  # fmt: skip


def exponent(lines: list[dict[str, float]], size: str, cost: str) -> float:
    """Slope of log cost on log size."""
    x, y = (np.log([line[name] for line in lines]) for name in (size, cost))
    return float(np.polyfit(x, y, 1)[0])


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


if __name__ == "__main__":
    main()
