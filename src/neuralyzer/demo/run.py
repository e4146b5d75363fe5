"""The demo's course: train the Oracle and its references, then answer AIFinn's request up to the certificate."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from neuralyzer.cases.case import Case
from neuralyzer.cases.forget import forget
from neuralyzer.cases.listener import CaseListener
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.demo import acceptance, digits
from neuralyzer.models import reading, threads, training, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references.pool import References
from neuralyzer.references.training import stacked
from neuralyzer.references.training.backends import Backend
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.registry.record import Recorder
from neuralyzer.trace.estimator import PoolEstimator
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.workspace import atomic
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.policy import Policy

FINISHED = "demo.json"  # file that exists once the demo has finished
REFERENCES = 56  # members of both splits
RETRAINED = 8  # models that are really retrained, for comparison
BUDGET_SHARE = 1 / 3  # of the seconds of one retraining
RECORDED_EVERY = 2000  # steps between checkpoints
RETRAINED_SEED = 500  # so that no retrained model has the seed of the Oracle or of a reference


class Audience(CaseListener, Progress, Protocol):
    """A listener to the demo."""

    def say(self, text: str) -> None:
        """Print a heading."""


@dataclass(frozen=True)
class Shown:
    """The result of the demo.

    Attributes:
        case: the case.
        result: its JSON, with the columns of really retrained models filled in.
    """

    case: Case
    result: dict[str, Any]


def run(out: Path, audience: Audience, seed: int = 0, method: str | None = None) -> Shown:
    """Run the demo.

    Args:
        out: folder for everything that it writes.
        audience: listener.
        seed: of customers, weights and order.
        method: name of an algorithm, in place of the plan's choice.

    Returns:
        The case and its JSON.
    """
    begin_anew(out)
    suite = Path(acceptance.__file__).parent
    command = f"{sys.executable} -m pytest -q -p no:cacheprovider -o addopts= {suite}"
    place = Workspace(out, Policy(acceptance=command))
    data, holdout = digits.digits(seed)
    recipe = digits.recipe(seed)
    chosen = threads.settled(place.threads, recipe, data)
    audience.say(f"Computing with {chosen.count} thread{'s' if chosen.count > 1 else ''}: {chosen.why}.")
    with threads.using(chosen.count):
        return _run(place, data, holdout, recipe, audience, seed, method)


def _run(
    place: Workspace, data: Data, holdout: Data, recipe: Recipe, audience: Audience, seed: int, method: str | None
) -> Shown:
    audience.say(f"The Oracle reads handwritten digits. Its {len(data):,} training rows belong to 30 customers.")
    oracle = train_oracle(place, recipe, data, holdout, audience)
    references = References.fit(
        oracle, REFERENCES, workspace=place, backend=Backend.VECTORISED, seed=10_000 + 1000 * seed, progress=audience
    )
    audience.say(f"{digits.SUBJECT} demands that its data go, and their traces in the model, at once.")
    plain = ErasureRequest(subjects=[digits.SUBJECT])
    positions = plain.positions(data)
    retain = data.select(np.setdiff1d(np.arange(len(data)), positions))
    first, retrain_seconds = _timed_retraining(recipe, retain, audience)
    budget = BUDGET_SHARE * retrain_seconds
    audience.say(f"One retraining takes {retrain_seconds:.1f} s here; there are {budget:.1f} s.")
    request = replace(plain, budget=budget, decided_by="data protection officer")
    # Made before the case closes, which erases the measurements on the rows. The really retrained models are read by it
    # afterwards, and nothing of the case depends on that.
    estimator = estimator_for(references.evaluation, references.parts(positions), place.policy.alpha)
    case = forget(
        oracle, request, references, place, options=CaseOptions(method=method, retrain_seconds=retrain_seconds, timed_budget=True),
        progress=audience, watch=audience,
    )  # fmt: skip
    models = [first, *_retrained(recipe, retain, audience)]
    result = with_retrained(case.result, estimator, models, recipe, holdout)
    finish(place.root, case)
    return Shown(case, result)


def finish(out: Path, case: Case) -> None:
    """Write that a demo has finished, so that the next one in the folder begins anew."""
    atomic.write_json(out / FINISHED, {"case": case.id})


def begin_anew(out: Path) -> None:
    """Remove a finished demo from the folder; one that was stopped is resumed instead."""
    if (out / FINISHED).exists():
        for name in ("cases", "references", "datasets", "runs"):
            shutil.rmtree(out / name, ignore_errors=True)
        for path in (out / "oracle.safetensors", *out.glob("assistant-*.safetensors")):
            path.unlink(missing_ok=True)
        (out / FINISHED).unlink()


def train_oracle(place: Workspace, recipe: Recipe, data: Data, holdout: Data, progress: Progress) -> TrainedModel:
    """Train the Oracle with its history recorded, and register data set and run."""
    register_dataset(place, "digits", data)
    register_dataset(place, "digits-holdout", holdout, role="holdout")
    folder = place.runs / "oracle"
    if (folder / "run.json").exists() and (place.root / "oracle.safetensors").exists():
        return TrainedModel.load(recipe, place.root / "oracle.safetensors", data, holdout, run=folder)
    recorder = Recorder(folder, data, every=RECORDED_EVERY, recipe=recipe.digest, seed=recipe.seed)
    oracle = TrainedModel.fit(recipe, data, holdout, progress, recorder, folder)
    recorder.finish(oracle.model)
    weights.save(oracle.model, place.root / "oracle.safetensors")
    return oracle


def _timed_retraining(recipe: Recipe, retain: Data, progress: Progress) -> tuple[nn.Module, float]:
    began = time.perf_counter()
    module = training.train(recipe, retain, recipe.seed + RETRAINED_SEED, progress)
    return module, time.perf_counter() - began


def _retrained(recipe: Recipe, retain: Data, progress: Progress) -> list[nn.Module]:
    """Retrain seven more models without the rows, in a stack; they are shown, never used."""
    count = RETRAINED - 1
    seeds = [recipe.seed + RETRAINED_SEED + number for number in range(1, RETRAINED)]
    progress.start(f"check of the measure: {count} models really retrained", count * recipe.epochs)
    rows = [np.arange(len(retain))] * count
    models = stacked.train_stack(recipe, retain, rows, seeds, progress)
    progress.finish()
    return models


def with_retrained(
    result: dict[str, Any], estimator: PoolEstimator, models: Sequence[nn.Module], recipe: Recipe, holdout: Data
) -> dict[str, Any]:
    """Return a case's JSON with the traces and the utility of really retrained models."""
    read = [estimator.read(model).traces for model in models]
    families = [
        row | {"retrained": [traces[row["signal"]].trace for traces in read]}
        for row in result["verification"]["families"]
    ]
    name = f"holdout_{recipe.objective.utility_name}"
    utilities = [reading.utility(model, recipe.objective, holdout) for model in models]
    return result | {
        "verification": result["verification"] | {"families": families},
        "utility": result["utility"] | {name: result["utility"][name] | {"retrained": utilities}},
    }
