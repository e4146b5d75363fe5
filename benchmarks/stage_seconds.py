"""How long the stages of a case take, by real cases: on digits, and on a language model whose training is longer.

Each model answers one request alone, then four in one run, by ``influence``. From the four durations come a fixed
time and a multiple of the training time, for a run and for each request in it; what is negative by noise counts as 0.
"""

import argparse
import shutil
import tempfile
import time
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
METHOD = "influence"
MEMBERS = 56  # of the digits' pool, as in the demo


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", type=Path, help="workspace of benchmarks.language, which has models and pools")
    parser.add_argument("--setting", default="lora", choices=list(settings.SETTINGS))
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        measured = {"digits": _digits(Path(folder) / "digits")}
        if arguments.language is not None:
            measured["language"] = _language(arguments.language, arguments.setting, Path(folder) / "language")
    results.write("stage_seconds", {"measured": measured, "durations": durations(list(measured.values()))})


def _digits(place: Path) -> dict[str, float]:
    data, holdout = digits.digits(0)
    oracle = TrainedModel.fit(digits.recipe(0), data, holdout)
    References.fit(oracle, MEMBERS, workspace=Workspace(place), seed=10_000)
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
        options = CaseOptions(method=METHOD)
        began = time.perf_counter()
        batch = Batch(oracle, requests, lambda f=folder: References.open(f, oracle), Workspace(own), options)  # type: ignore[misc]
        cases = batch.close()
        seconds[f"{count} together"] = time.perf_counter() - began
        print(count, [(str(case.verdict), case.result["unlearning"]["method"]) for case in cases], seconds, flush=True)
    return seconds


def durations(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the arguments of ``capacity.Durations``; with one model all time counts as a multiple of its training."""
    parts = []
    for one in measured:
        each = max((one[f"{TOGETHER} together"] - one["1 together"]) / (TOGETHER - 1), 0.0)
        parts.append((one["training"], max(one["1 together"] - each, 0.0), each))
    found: dict[str, Any] = {}
    for name, column in (("run", 1), ("request", 2)):
        slope, fixed = parts[-1][column] / parts[-1][0], 0.0
        if len(parts) > 1:
            (short, small), (long, large) = ((part[0], part[column]) for part in parts)
            slope = max((large - small) / (long - short), 0.0)
            fixed = max(small - slope * short, 0.0)
        found |= {f"{name}_fixed": round(fixed, 2), f"{name}_of_training": round(slope, 4)}
    return found


if __name__ == "__main__":
    main()
