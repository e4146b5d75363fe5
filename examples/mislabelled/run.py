"""Take a supplier's wrong labels out of a network: ``python examples/mislabelled/run.py --out FOLDER``.

What was unlearned is compared with models really trained without that supplier: by accuracy, and by what each says of
the mislabelled rows. No algorithm and no judge of the library sees the true labels.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import oracle as own
from rich.console import Console
from rich.table import Table
from torch import nn

import neuralyzer as nz
from neuralyzer.models import reading

RETRAINED_SEEDS = (501, 502, 503)


def main() -> None:
    """Train, forget, compare; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--size", type=int, default=32, help="references, both splits together")
    parser.add_argument("--budget", type=float, default=1.5, help="seconds that the first choice may take")
    asked = parser.parse_args()
    place, world = nz.Workspace(asked.out), own.data()
    oracle = nz.TrainedModel.fit(own.recipe(), world.train, world.holdout)
    request = nz.ErasureRequest(
        subjects=[own.WRONG], reason="mislabelled", budget=asked.budget, decided_by="head of data quality"
    )
    rows = request.positions(world.train)

    # asked for only while the case is open: once it is closed, its rows are no longer there
    def pool() -> nz.References:
        return nz.References.fit(oracle, asked.size, workspace=place, backend="vectorised")

    case = nz.forget(oracle, request, pool, place)
    retained = world.train.select(np.setdiff1d(np.arange(len(world.train)), rows))
    retrained = [nz.TrainedModel.fit(own.recipe(seed), retained, world.holdout) for seed in RETRAINED_SEEDS]
    read = {
        "original": [measured(oracle.model, world, rows)],
        "unlearned": [measured(case.model, world, rows)],
        "retrained": [measured(one.model, world, rows) for one in retrained],
    }
    result: dict[str, Any] = {
        "rows": len(world.train), "mislabelled": len(rows), "models": read, "verdict": str(case.verdict),
        "method": case.result["unlearning"]["method"], "attempts": [
            {name: attempt[name] for name in ("method", "seconds", "reason")}
            for attempt in case.result["unlearning"]["attempts"]
        ],
        "seconds": case.result["unlearning"]["seconds"], "training_seconds": oracle.seconds,
        "report": str(case.report), "certificate": str(case.certificate),
    }  # fmt: skip
    (asked.out / "result.json").write_text(json.dumps(result, indent=2))
    show(result)


def measured(model: nn.Module, world: own.Labelled, rows: np.ndarray) -> dict[str, float]:
    """Accuracy on the holdout, and on the mislabelled rows by their true and by their wrong labels."""
    objective = nz.Classification()
    said = reading.outputs(model, objective, world.train.gather(rows)[0]).argmax(1).numpy()
    return {
        "holdout": reading.utility(model, objective, world.holdout),
        "true": float((said == world.truth[rows]).mean()),
        "wrong": float((said == world.train.y[rows].numpy()).mean()),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table and what the case came to."""
    table = Table(title=f"{result['mislabelled']} of {result['rows']} rows mislabelled", title_justify="left")
    table.add_column("model")
    for name in ("holdout", "mislabelled: true", "mislabelled: wrong"):
        table.add_column(name, justify="right")
    for name, models in result["models"].items():
        found = [f"{100 * np.mean([one[key] for one in models]):.1f} %" for key in ("holdout", "true", "wrong")]
        table.add_row(name if len(models) == 1 else f"{name} ({len(models)})", *found)
    console = Console()
    console.print(table)
    console.print(
        f"{result['verdict']} by {result['method']} in {result['seconds']:.1f} s; "
        f"training took {result['training_seconds']:.1f} s",
        highlight=False,
    )
    for attempt in result["attempts"]:
        console.print(f"  {attempt['method']}, {attempt['seconds']:.1f} s: {attempt['reason']}", highlight=False)


if __name__ == "__main__":
    main()
