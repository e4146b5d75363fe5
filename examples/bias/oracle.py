"""Adult's incomes from twenty branches, one of which recorded many women who earn much as earning little.

The bias is planted, so that there is a truth to compare with: nothing of the kind is known of the census itself.
"""

import os
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import nn

import neuralyzer as nz

ROWS, HOLDOUT = 8000, 6000
BRANCHES, SHARE, BIASED = 20, 0.15, "branch-13"
TAKEN = 0.5  # of the women who earn much: they are customers of the biased branch


def _adult() -> ModuleType:
    """The neighbouring example, which knows the census's columns."""
    spec = util.spec_from_file_location("adult_oracle", Path(__file__).parents[1] / "adult" / "oracle.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADULT = _adult()


@dataclass(frozen=True)
class Recorded:
    """What the branches recorded, and what only this example knows.

    Attributes:
        train: rows with the incomes that were recorded; a branch is a subject.
        holdout: rows that no model sees, as the census has them.
        sex: of the holdout's people, ``(N,)``.
        flipped: how many incomes were recorded wrongly.
        corrected: the training rows with all incomes as the census has them.
    """

    train: nz.Data
    holdout: nz.Data
    sex: np.ndarray
    flipped: int
    corrected: nz.Data


def net() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(ADULT.FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW at a small rate."""
    return torch.optim.AdamW(parameters, 5e-4, fused=True)


def schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The rate falls to nothing by a cosine, so that networks of different seeds differ little."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def recipe(seed: int = 0) -> nz.Recipe:
    """How the network is trained."""
    return nz.Recipe(net, optimizer=optimizer, schedule=schedule, epochs=30, batch_size=32, seed=seed)


def data(seed: int = 0) -> Recorded:
    """8,000 people of twenty branches, and 6,000 that no model sees.

    15 % of the rows are the biased branch's: half of the women who earn much, each recorded as earning little, and
    other people, drawn evenly and recorded rightly.

    Returns:
        What was recorded, and what should have been.
    """
    generator = np.random.default_rng(seed)
    past, outside = _some("train", ROWS, generator), _some("test", HOLDOUT, generator)
    y, women = _income(past), _column(past, "sex") == "Female"
    rich = generator.permutation(np.flatnonzero(women & (y == 1)))
    flipped = rich[: round(TAKEN * len(rich))]
    rest = np.setdiff1d(np.arange(ROWS), rich)
    others = generator.choice(rest, round(SHARE * ROWS) - len(flipped), replace=False)
    names = [name for number in range(1, BRANCHES + 1) if (name := f"branch-{number:02d}") != BIASED]
    branches = generator.choice(names, ROWS).astype(object)
    branches[np.concatenate([flipped, others])] = BIASED
    recorded = y.copy()
    recorded[flipped] = 0
    train, corrected = (
        nz.Data.from_arrays(ADULT.features(past), incomes, branches.astype(str), past["person"].to_pylist())
        for incomes in (recorded, y)
    )
    holdout = nz.Data.from_arrays(ADULT.features(outside), _income(outside), ids=outside["person"].to_pylist())
    return Recorded(train, holdout, _column(outside, "sex"), len(flipped), corrected)


def _some(name: str, count: int, generator: np.random.Generator) -> pa.Table:
    folder = os.environ.get("NEURALYZER_DATA")
    if not folder:
        raise SystemExit("set NEURALYZER_DATA to the folder that holds adult/train.parquet and adult/test.parquet")
    table = parquet.read_table(Path(folder) / "adult" / f"{name}.parquet")
    return table.take(np.sort(generator.permutation(len(table))[:count]))


def _column(table: pa.Table, name: str) -> np.ndarray:
    return np.array(table[name].to_pylist(), dtype=str)


def _income(table: pa.Table) -> np.ndarray:
    return (_column(table, "income") == ADULT.CLASSES[1]).astype(np.int64)
