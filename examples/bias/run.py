"""Take a biased branch's rows out of a network: ``python examples/bias/run.py --out FOLDER``.

What was unlearned is compared by Fairlearn's measures with networks really retrained without that branch, and with
networks trained on what the branch should have recorded. The bias is planted (``oracle.data``).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import oracle as own
from fairlearn import metrics
from rich.console import Console
from rich.table import Table
from torch import nn

import neuralyzer as nz
from neuralyzer.models import reading, weights

SHARE = 0.5  # of a training: what the first choice may take
SEEDS = (501, 502, 503, 504, 505)
MEASURES = {
    "accuracy": "accuracy", "parity": "demographic parity", "odds": "equalised odds",
    "women": "women found", "men": "men found",
}  # fmt: skip


def main() -> None:
    """Train, forget, compare; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--size", type=int, default=24, help="references, both splits together")
    parser.add_argument("--method", help="an algorithm in place of the plan's choice, as long as it takes")
    asked = parser.parse_args()
    place, world = nz.Workspace(asked.out), own.data()
    oracle, seconds = trained(asked.out / "oracle.safetensors", world)
    request = nz.ErasureRequest(
        subjects=[own.BIASED], reason="bias", budget=None if asked.method else SHARE * seconds,
        decided_by="equal opportunities officer",
    )  # fmt: skip
    rows = request.positions(world.train)

    # asked for only while the case is open: once it is closed, its rows are no longer there
    def pool() -> nz.References:
        return nz.References.fit(oracle, asked.size, workspace=place, backend="vectorised")

    case = nz.forget(oracle, request, pool, place, method=asked.method)
    rest = world.train.select(np.setdiff1d(np.arange(len(world.train)), rows))
    read = {"original": [measured(oracle.model, world)], "unlearned": [measured(case.model, world)]}
    for name, data in (("retrained", rest), ("corrected", world.corrected)):
        read[name] = [measured(nz.TrainedModel.fit(own.recipe(seed), data).model, world) for seed in SEEDS]
    done = case.result["unlearning"]
    result: dict[str, Any] = {
        "rows": len(world.train), "biased": len(rows), "flipped": world.flipped, "models": read,
        "verdict": str(case.verdict), "sentence": case.verification.sentence, "method": done["method"], "attempts": [
            {name: attempt[name] for name in ("method", "seconds", "reason")} for attempt in done["attempts"]
        ],
        "seconds": done["seconds"], "training_seconds": seconds,
        "report": str(case.report), "certificate": str(case.certificate),
    }  # fmt: skip
    (asked.out / "result.json").write_text(json.dumps(result, indent=2))
    show(result)


def trained(path: Path, world: own.Recorded) -> tuple[nz.TrainedModel, float]:
    """The Oracle and what its training took, from an earlier run where there was one."""
    clock = path.with_suffix(".seconds")
    if clock.exists():
        return nz.TrainedModel.load(own.recipe(), path, world.train, world.holdout), float(clock.read_text())
    oracle = nz.TrainedModel.fit(own.recipe(), world.train, world.holdout)
    assert oracle.seconds is not None
    weights.save(oracle.model, path)
    clock.write_text(str(oracle.seconds))
    return oracle, oracle.seconds


def measured(model: nn.Module, world: own.Recorded) -> dict[str, float]:
    """Accuracy and fairness on the holdout; 0 is fair. ``women`` and ``men`` are the true positive rates."""
    said = reading.outputs(model, nz.Classification(), world.holdout.x).argmax(1).numpy()
    truth, sex = world.holdout.y.numpy(), world.sex
    found = {name: float(said[(sex == name) & (truth == 1)].mean()) for name in ("Female", "Male")}
    return {
        "accuracy": float((said == truth).mean()),
        "parity": float(metrics.demographic_parity_difference(truth, said, sensitive_features=sex)),
        "odds": float(metrics.equalized_odds_difference(truth, said, sensitive_features=sex)),
        "women": found["Female"],
        "men": found["Male"],
    }


def show(result: dict[str, Any]) -> None:
    """Print the table and what the case came to."""
    table = Table(
        title=f"{result['biased']} of {result['rows']} rows are {own.BIASED}'s, {result['flipped']} of them wrong",
        title_justify="left",
    )
    table.add_column("on the holdout")
    for name, models in result["models"].items():
        table.add_column(name if len(models) == 1 else f"{name} ({len(models)})", justify="right")
    for key, name in MEASURES.items():
        table.add_row(name, *(f"{np.mean([one[key] for one in models]):.3f}" for models in result["models"].values()))
    console = Console()
    console.print(table)
    console.print(
        f"{result['verdict']} by {result['method']} in {result['seconds']:.1f} s; "
        f"training took {result['training_seconds']:.1f} s",
        highlight=False,
    )
    for attempt in result["attempts"]:
        console.print(f"  {attempt['method']}, {attempt['seconds']:.1f} s: {attempt['reason']}", highlight=False)
    console.print(result["sentence"], highlight=False)


if __name__ == "__main__":
    main()
