"""How long the stages of a case take, by real cases: on digits, on digits trained longer, and on a language model.

Each model answers one request alone, then four in one run, by the plan's own choice, as the service asks. What grows
with the training is told by the two trainings on digits, which differ in nothing else. What does not grow, since it reads
the request's rows and the holdout, is that of the language model, whose rows cost most.
"""

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.calibration.models import Made
from benchmarks.language import settings
from neuralyzer.cases.batch import Batch
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import ErasureRequest
from neuralyzer.demo import digits
from neuralyzer.models import training
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.workspace.paths import Workspace

TOGETHER = 4
LONGER = 8
MEMBERS = 56  # of the digits' pool, as in the demo


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", type=Path, help="workspace of benchmarks.language, which has models and pools")
    parser.add_argument("--setting", default="lora", choices=list(settings.SETTINGS))
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        longer = f"digits, trained {LONGER} times as long"
        measured = {"digits": _digits(Path(folder) / "digits"), longer: _digits(Path(folder) / "longer", LONGER)}
        if arguments.language is None and results.path("stage_seconds").exists():
            measured |= {"language": results.read("stage_seconds")["measured"]["language"]}
        if arguments.language is not None:
            measured["language"] = _language(arguments.language, arguments.setting, Path(folder) / "language")
    results.write("stage_seconds", {"measured": measured, "durations": durations(list(measured.values()))})


def _digits(place: Path, times: int = 1) -> dict[str, float]:
    data, holdout = digits.digits(0)
    recipe = digits.recipe(0)
    oracle = TrainedModel.fit(replace(recipe, epochs=times * recipe.epochs), data, holdout)
    References.fit(oracle, MEMBERS, workspace=Workspace(place), backend="vectorised", seed=10_000)
    names = [digits.SUBJECT, *(f"customer-{number:02d}" for number in range(2, 2 + TOGETHER - 1))]
    return _timed(oracle, place, names)


def _language(kept: Path, setting: str, place: Path) -> dict[str, float]:
    world, own = settings.made(setting, kept)
    made = Made(own, kept)
    shutil.copytree(made.pool / "references", place / "references")
    return _timed(made.oracle, place, list(world.authors[0][:TOGETHER]))


def _timed(oracle: TrainedModel, place: Path, names: list[str]) -> dict[str, float]:
    """Return seconds of a training, of one request, and of all together; each on a copy, since cases erase."""
    began = time.perf_counter()
    training.train(oracle.recipe, oracle.data, 900_000)
    seconds = {"training": time.perf_counter() - began}
    for count in (1, TOGETHER):
        own = place.with_name(f"{place.name}-{count}")
        shutil.copytree(place / "references", own / "references")
        (folder,) = (own / "references").iterdir()
        requests = [ErasureRequest(subjects=[name]) for name in names[:count]]
        began = time.perf_counter()
        batch = Batch(oracle, requests, lambda f=folder: References.open(f, oracle), Workspace(own), CaseOptions())  # type: ignore[misc]
        cases = batch.close()
        seconds[f"{count} together"] = time.perf_counter() - began
        print(count, [(str(case.verdict), case.result["unlearning"]["method"]) for case in cases], seconds, flush=True)
    return seconds


def durations(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the arguments of ``capacity.Durations``; what is negative by noise counts as 0.

    Args:
        measured: of a model, of the same trained longer, and of any others, the last of which gives what does not grow.
    """
    parts = []
    for one in measured:
        each = max((one[f"{TOGETHER} together"] - one["1 together"]) / (TOGETHER - 1), 0.0)
        parts.append({"training": one["training"], "run": max(one["1 together"] - each, 0.0), "request": each})
    short, long, last, found = parts[0], parts[1], parts[-1], dict[str, Any]()
    for name in ("run", "request"):
        slope = max((long[name] - short[name]) / (long["training"] - short["training"]), 0.0)
        fixed = max(last[name] - slope * last["training"], 0.0)
        found |= {f"{name}_fixed": round(fixed, 2), f"{name}_of_training": round(slope, 4)}
    return found


if __name__ == "__main__":
    main()
