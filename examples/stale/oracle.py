"""Ten years of orders, each sent to one of five desks; four desks exchanged their duties in 2018.

The orders are synthetic: a fixed random rule says which desk an order belongs to. They lie in a Parquet file with a
column ``year``, which no model sees, so that a request can name the stale ones by a predicate. What lies before the
change came over from an older system as one delivery, the archive; since then there is a delivery a year.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import nn

import neuralyzer as nz

FEATURES, DESKS, WIDTH = 12, 5, 192
YEARS, CHANGED = range(2016, 2026), 2018
ROWS, HOLDOUT = 3000, 2000
BEFORE = np.array([0, 2, 1, 4, 3])  # what a desk was called before the change
NAMES = [f"x{number}" for number in range(FEATURES)]


def net() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, DESKS)
    )


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW at its usual rate."""
    return torch.optim.AdamW(parameters, 1e-3, fused=True)


def recipe(seed: int = 0) -> nz.Recipe:
    """How the network is trained."""
    return nz.Recipe(net, optimizer=optimizer, epochs=60, batch_size=32, seed=seed)


def orders(folder: Path, by_year: bool, seed: int = 0) -> tuple[Path, Path]:
    """Write the past, ten years of orders, and the present, which follows today's convention throughout.

    Args:
        folder: where.
        by_year: whether the archive is a delivery a year too.
        seed: of the orders.

    Returns:
        Both files.
    """
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(FEATURES, 16)), generator.normal(size=(16, DESKS))

    def table(count: int, name: str, years: np.ndarray) -> pa.Table:
        x = generator.normal(size=(count, FEATURES)).astype(np.float32)
        desk = (np.tanh(x @ first / np.sqrt(FEATURES)) @ second).argmax(1)
        desk = np.where(years < CHANGED, BEFORE[desk], desk)
        columns = dict(zip(NAMES, x.T, strict=True)) | {"year": years, "desk": desk}
        delivery = [f"year {year}" if year >= CHANGED or by_year else "archive" for year in years]
        return pa.table(columns | {"delivery": delivery, "id": [f"{name}-{number}" for number in range(count)]})

    found = []
    for name, count, years in (
        ("past", ROWS, generator.choice(list(YEARS), ROWS)), ("present", HOLDOUT, np.full(HOLDOUT, YEARS[-1] + 1)),
    ):  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        found.append(folder / f"{name}.parquet")
        parquet.write_table(table(count, name, years), found[-1])
    return found[0], found[1]


def data(folder: Path, by_year: bool = False) -> tuple[nz.Data, nz.Data]:
    """The past to train on, a delivery being a subject, and the present to judge by."""
    columns = {"target": "desk", "subject": "delivery", "id": "id", "features": NAMES}
    past, present = (nz.Data.from_parquet(path, **columns) for path in orders(folder, by_year))
    return past, present
