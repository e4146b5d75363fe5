"""Drop the years before a convention changed: ``python examples/stale/run.py --out FOLDER``.

The request names rows by a predicate over a column that no model sees. What was unlearned is compared, on orders of the
present day, with models really retrained without those years.
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
from neuralyzer.models import reading, weights

STALE = f"year < {own.CHANGED}"
SHARE = 0.5  # of a training: what the first choice may take
RETRAINED_SEEDS = (501, 502, 503)


def main() -> None:
    """Train, forget, compare; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--size", type=int, default=32, help="references, both splits together")
    parser.add_argument("--by-year", action="store_true", help="the stale orders are two subjects, not one")
    asked = parser.parse_args()
    place, (past, present) = nz.Workspace(asked.out), own.data(asked.out / "orders", asked.by_year)
    oracle, seconds = trained(asked.out / "oracle.safetensors", past, present)
    request = nz.ErasureRequest(where=STALE, reason="stale", budget=SHARE * seconds, decided_by="head of the mail room")
    rows = request.positions(past)

    # asked for only while the case is open: once it is closed, its rows are no longer there
    def pool() -> nz.References:
        return nz.References.fit(oracle, asked.size, workspace=place, backend="vectorised")

    case = nz.forget(oracle, request, pool, place)
    stale, rest = past.select(rows), past.select(np.setdiff1d(np.arange(len(past)), rows))
    retrained = [nz.TrainedModel.fit(own.recipe(seed), rest, present) for seed in RETRAINED_SEEDS]
    read = {
        "original": [measured(oracle.model, present, stale)],
        "unlearned": [measured(case.model, present, stale)],
        "retrained": [measured(one.model, present, stale) for one in retrained],
    }
    done = case.result["unlearning"]
    result: dict[str, Any] = {
        "rows": len(past), "stale": len(rows), "models": read, "verdict": str(case.verdict),
        "sentence": case.verification.sentence, "note": case.plan.note, "unanswerable": case.plan.answerable,
        "method": done["method"], "attempts": [
            {name: attempt[name] for name in ("method", "seconds", "reason")} for attempt in done["attempts"]
        ],
        "seconds": done["seconds"], "training_seconds": seconds,
        "report": str(case.report), "certificate": str(case.certificate),
    }  # fmt: skip
    (asked.out / "result.json").write_text(json.dumps(result, indent=2))
    show(result)


def trained(path: Path, past: nz.Data, present: nz.Data) -> tuple[nz.TrainedModel, float]:
    """The Oracle and what its training took, from an earlier run where there was one."""
    clock = path.with_suffix(".seconds")
    if clock.exists():
        return nz.TrainedModel.load(own.recipe(), path, past, present), float(clock.read_text())
    oracle = nz.TrainedModel.fit(own.recipe(), past, present)
    assert oracle.seconds is not None
    weights.save(oracle.model, path)
    clock.write_text(str(oracle.seconds))
    return oracle, oracle.seconds


def measured(model: nn.Module, present: nz.Data, stale: nz.Data) -> dict[str, float]:
    """Accuracy on orders of the present day, and on the stale ones: by their old desk and by today's."""
    objective = nz.Classification()
    said = reading.outputs(model, objective, stale.x).argmax(1).numpy()
    old = stale.y.numpy()
    return {
        "present": reading.utility(model, objective, present),
        "old desk": float((said == old).mean()),
        "today's desk": float((said == own.BEFORE[old]).mean()),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table and what the case came to."""
    table = Table(title=f"{result['stale']} of {result['rows']} orders have {STALE}", title_justify="left")
    table.add_column("model")
    keys = ("present", "old desk", "today's desk")
    for name in ("orders of today", "stale: old desk", "stale: today's desk"):
        table.add_column(name, justify="right")
    for name, models in result["models"].items():
        found = [f"{100 * np.mean([one[key] for one in models]):.1f} %" for key in keys]
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
    for sentence in (result["note"], result["unanswerable"], result["sentence"]):
        if sentence:
            console.print(sentence, highlight=False)


if __name__ == "__main__":
    main()
