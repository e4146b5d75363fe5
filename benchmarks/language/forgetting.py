"""Algorithms on language models: each unlearns an author once, and is judged by the evaluation split."""

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from torch import nn

from benchmarks.calibration.judged import Court
from benchmarks.calibration.models import FIRST_SEED, Made
from benchmarks.calibration.worlds import Request, request_name
from benchmarks.language.worlds import World
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.methods import catalogue
from neuralyzer.models import reading, training, weights
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.search import search
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace import atomic


@dataclass(frozen=True)
class Entrant:
    """An algorithm and its settings.

    Attributes:
        method: its name.
        settings: hyperparameters that are not its defaults.
        searched: trials of the shared search; 0 for none.
        authors: how many it forgets, each alone; fewer where one takes minutes.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    searched: int = 0
    authors: int = 10


ENTRANTS = {
    "retrain": Entrant("retrain", authors=4),
    "influence": Entrant("influence", authors=20),
    "finetune": Entrant("finetune"),
    "gradient-ascent": Entrant("gradient-ascent"),
    "npo": Entrant("npo"),
    "npo, searched": Entrant("npo", searched=12, authors=1),
    "task-vector": Entrant("task-vector"),
}


def attempt(world: World, made: Made, request: Request, name: str) -> dict[str, Any]:
    """Return the figures of one attempt, kept beside the models.

    Returns:
        What ``Court.judge`` says by the evaluation split, ``seconds``, and mean losses on retained rows (``retained``),
        on the holdout (``holdout``) and on the utility sets (``general``).
    """
    done = made.root / "unlearned" / request_name(request) / f"{name}.json"
    if done.exists():
        return dict(atomic.read_json(done))
    entrant = ENTRANTS[name]
    task = Task(made.oracle, ErasureRequest(subjects=request), made.references, seed=FIRST_SEED)
    method = catalogue.make(entrant.method, **entrant.settings)
    began = time.perf_counter()
    module = search(method, task, trials=entrant.searched).module if entrant.searched else method.unlearn(task)
    module = Repair().mend(module, task) if method.repaired else module
    seconds = time.perf_counter() - began
    evaluator = made.references.evaluation
    original = made.readings(evaluator, request, made.pool / "oracle.safetensors")
    named = done.with_name(f"{request_name(request)}-{name}.safetensors")
    weights.save(module, done.with_suffix(".safetensors"))
    line = _court(made, request).judge("judging", made.readings(evaluator, request, named, module), original)
    line |= {
        "world": made.world.name, "request": request_name(request), "half": "judging", "method": name,
        "seconds": seconds, **losses(world, task, module),
    }  # fmt: skip
    atomic.write_json(done, line)
    return line


@lru_cache(1)  # its nulls take as long as an attempt
def _court(made: Made, request: Request) -> Court:
    return Court(made, request)


def losses(world: World, task: Task, module: nn.Module) -> dict[str, float]:
    """Return mean losses a row on retained rows, on the holdout and on the utility sets."""
    rows: dict[str, Data] = {"retained": task.retain, "holdout": world.holdout, "general": world.general}
    return {name: reading.mean_loss(module, task.objective, own) for name, own in rows.items()}


def retraining_seconds(made: Made) -> float:
    """Return the seconds of one training on all rows on this machine, timed now."""
    began = time.perf_counter()
    training.train(made.world.recipe, made.world.data, FIRST_SEED - 1)
    return time.perf_counter() - began


def table(lines: list[dict[str, Any]], training_seconds: float) -> dict[str, Any]:
    """Return an entrant's figures over all authors."""
    signals = sorted({name for line in lines for name in line["traces"]})
    return {
        "authors": len(lines),
        "not detected": float(np.mean([not line["rejects_counting"] for line in lines])),
        "trace": {
            name: float(np.mean([line["traces"][name]["trace"] for line in lines if name in line["traces"]]))
            for name in signals
        },
        **{key: float(np.mean([line[key] for line in lines])) for key in ("retained", "holdout", "general")},
        "share of a retraining": float(np.mean([line["seconds"] for line in lines])) / training_seconds,
    }
