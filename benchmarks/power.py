"""The planning formula of the digits, and how well it predicts: predicted power against what retrained models show.

The pool has 64 members; Oracles of other seeds than the pool's are audited for each customer. The constants become
``trace.power.DIGITS``, for models that have no references yet.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import results
from neuralyzer.data.request import ErasureRequest
from neuralyzer.demo import digits
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.pool import References
from neuralyzer.references.training import stacked
from neuralyzer.trace.estimator import TraceEstimator, null_tables
from neuralyzer.trace.power import refit
from neuralyzer.workspace.paths import Workspace

SEED, SIZE, ORACLES = 33, 64, 8


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-benchmarks")
    options = parser.parse_args(argv)
    folder = options.workspace / f"power-{SEED}"
    print(f"about 3 minutes; a pool of {SIZE} in {folder}", flush=True)
    data, holdout = digits.digits(SEED)
    recipe = digits.recipe(SEED)
    blank = TrainedModel(recipe.module(0), recipe, data, holdout)
    pool = References.fit(blank, SIZE, workspace=Workspace(folder), backend="vectorised", seed=10_000 + 1000 * SEED)
    split = pool.tuning.values
    formula = refit(null_tables(split, 0.05))
    assert formula is not None
    every = np.arange(len(data))
    modules = stacked.train_stack(recipe, data, [every] * ORACLES, [700 + k for k in range(ORACLES)], Silent())
    oracles = [TrainedModel(module, recipe, data, holdout) for module in modules]
    lines = []
    for name in np.unique(data.subjects):
        positions = ErasureRequest(subjects=[str(name)]).positions(data)
        estimator = TraceEstimator(pool.tuning, pool.parts(positions), 0.05)
        found = float(np.mean([estimator.read(oracle.model).rejects for oracle in oracles]))
        lines.append((len(positions), found, formula.power(len(positions), split.members, share=split.share)))
    rows, found, predicted = (np.array(column) for column in zip(*lines, strict=True))
    fewer = rows <= np.median(rows)
    results.write(
        "power",
        {
            "seed": SEED,
            "formula": formula.to_dict(),
            "found": float(found.mean()),
            "foretold": float(predicted.mean()),
            "found_and_foretold_by_rows": {
                f"{rows[own].min()} to {rows[own].max()}": [
                    float(found[own].mean()),
                    float(predicted[own].mean()),
                ]
                for own in (fewer, ~fewer)
            },
        },
    )


if __name__ == "__main__":
    main()
