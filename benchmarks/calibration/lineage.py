"""The tenth request on one lineage: judged as well as the first?"""

import shutil
from typing import Any

import numpy as np

from benchmarks.calibration import figures
from benchmarks.calibration.models import FIRST_SEED, Made
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.pool import References
from neuralyzer.references.training import stacked
from neuralyzer.trace.estimator import TraceEstimator, nulls_to_keep

ALPHA = 0.05
BEFORE, LAST, MODELS = 9, 12, 3


def measured(made: Made) -> dict[str, Any]:
    """After nine requests were answered and their rows erased from a copy of the pool, twelve others are judged.

    The models of the lineage are really trained without the nine (the original of the tenth request) and without the
    tenth too: their verdicts are what an ideal unlearning would meet.

    Returns:
        Power, false alarms and detectable traces of the tenth request and, for the same subjects, of a first one.
    """
    root, world = made.root / "lineage", made.world
    names = np.random.default_rng(77).permutation(np.unique(world.data.subjects)).tolist()
    gone, last = names[:BEFORE], names[BEFORE : BEFORE + LAST]
    shutil.rmtree(root / "pool", ignore_errors=True)
    shutil.copytree(made.references.store.root, root / "pool")
    pool = References.open(root / "pool", made.oracle)
    positions = ErasureRequest(subjects=gone).positions(world.data)
    pool.erase(positions, "nine requests", nulls_to_keep(pool, positions, ALPHA))  # as a case does when it closes
    rest = world.data.select(~np.isin(world.data.subjects, gone))
    oracle = TrainedModel.fit(world.recipe, rest, world.holdout)
    late = References.open(root / "pool", oracle)
    early = made.references
    found: list[dict[str, Any]] = []
    for place, name in enumerate(last):
        models = _models(made, root, rest, str(name), place)
        for label, references, data, original, new in (
            ("tenth", late, rest, oracle, models),
            ("first", early, world.data, made.oracle, [made.load(p) for p in made.paths((str(name),), "retrained")]),
        ):
            parts = references.parts(ErasureRequest(subjects=[str(name)]).positions(data))
            estimator = TraceEstimator(references.evaluation, parts, ALPHA)
            read = estimator.read(original.model)
            found.append(
                {
                    "label": label, "kind": "original", "world": "lineage", "half": label, "request": str(name),
                    "rejects": read.rejects, "detectable": min(read.detectable.values()),
                }
            )  # fmt: skip
            for module in new:
                line = {"label": label, "kind": "retrained", "world": "lineage", "half": label, "request": str(name)}
                found.append(line | {"rejects": estimator.read(module).rejects})
    return {label: _figures([line for line in found if line["label"] == label]) for label in ("first", "tenth")}


def _models(made: Made, root: Any, rest: Any, name: str, place: int) -> list[Any]:
    paths = [root / name / f"{k}.safetensors" for k in range(MODELS)]
    if not all(path.exists() for path in paths):
        rows = np.flatnonzero(rest.subjects != name)
        seeds = [FIRST_SEED + 700_000 + 10 * place + k for k in range(MODELS)]
        for path, module in zip(
            paths, stacked.train_stack(made.world.recipe, rest, [rows] * MODELS, seeds, Silent()), strict=True
        ):
            weights.save(module, path)
    return [made.load(path) for path in paths]


def _figures(lines: list[dict[str, Any]]) -> dict[str, Any]:
    originals = [line for line in lines if line["kind"] == "original"]
    retrained = [line for line in lines if line["kind"] == "retrained"]
    return {
        "originals caught": figures.rate(originals, lambda line: line["rejects"]),
        "false alarms": figures.rate(retrained, lambda line: line["rejects"]),
        "finest detectable trace, median": float(np.median([line["detectable"] for line in originals])),
    }
