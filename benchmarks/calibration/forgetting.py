"""Whether a model has forgotten after one attempt, beside models really retrained; kept a subject at a time."""

import time
from typing import Any

import numpy as np

from benchmarks.calibration.judged import Court
from benchmarks.calibration.models import Made
from benchmarks.calibration.worlds import Request, request_name
from neuralyzer.data.request import ErasureRequest
from neuralyzer.methods import catalogue
from neuralyzer.models import reading, weights
from neuralyzer.planning.plan import make_plan
from neuralyzer.unlearning.cost import probe
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace import atomic

METHODS = ("influence", "neggrad-plus", "datamodel-matching")


def forgotten(made: Made, request: Request, method: str) -> dict[str, Any]:
    """One attempt: unlearn and repair with the tuning split, judge once with the other."""
    folder = made.root / "unlearned" / request_name(request)
    done = folder / f"{method}.json"
    if done.exists():
        return atomic.read_json(done)
    task = Task(made.oracle, ErasureRequest(subjects=request), made.references)
    own = catalogue.make(method)
    began = time.perf_counter()
    module = own.unlearn(task)
    module = Repair().mend(module, task) if own.repaired else module
    seconds = time.perf_counter() - began
    path = folder / f"{method}.safetensors"
    weights.save(module, path)
    evaluator = made.references.evaluation
    named = folder / f"{request_name(request)}-{method}.safetensors"
    original = made.readings(evaluator, request, made.pool / "oracle.safetensors")
    line = Court(made, request).judge("judging", made.readings(evaluator, request, named, module), original)
    line |= {
        "world": made.world.name, "request": request_name(request), "half": "judging", "method": method,
        "seconds": seconds, "utility": reading.utility(module, made.world.recipe.objective, made.world.holdout),
    }  # fmt: skip
    atomic.write_json(done, line)
    return line


def picks(made: Made) -> dict[str, int]:
    """How often the plan picks which method, with all the time that is wanted and with half of a retraining's."""
    done = made.root / "picks.json"
    if not done.exists():
        rates, found = None, {}
        for share in (None, 0.5):
            for request in made.world.requests:
                task = Task(made.oracle, ErasureRequest(subjects=request), made.references)
                rates = rates or probe(task)
                budget = None if share is None else share * rates.seconds(catalogue.make("retrain").passes(task))
                asked = ErasureRequest(subjects=request, budget=budget)
                own = make_plan(Task(made.oracle, asked, made.references), rates=rates).chosen.method
                key = own if share is None else f"{own}, within half of a retraining's time"
                found[key] = found.get(key, 0) + 1
        atomic.write_json(done, found)
    return atomic.read_json(done)


def members_utility(made: Made, request: Request) -> float:
    """Mean holdout utility of the judging members that never saw any of the rows."""
    split = made.references.evaluation
    parts = made.references.parts(ErasureRequest(subjects=request).positions(made.world.data))
    never = ~split.values.keep[:, [part.subject for part in parts]].any(1)
    return float(split.utilities[never].mean())


def retrained_utility(made: Made) -> float:
    """Mean holdout utility of the really retrained models."""
    objective, holdout = made.world.recipe.objective, made.world.holdout
    done = made.root / "retrained-utility.json"
    if not done.exists():
        found = [
            reading.utility(made.load(path), objective, holdout)
            for request in made.world.requests
            for path in made.paths(request, "retrained")
        ]
        atomic.write_json(done, {"mean": float(np.mean(found)), "models": len(found)})
    return float(atomic.read_json(done)["mean"])
