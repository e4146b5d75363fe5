"""What five million rows need: seconds a step and the peak of memory, in one process."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from benchmarks import in_steps
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.registry.locate import locate
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.workspace.paths import Workspace

FEATURES = 20
ROWS_EACH = 10
GROUP = 500_000  # rows written at once


def main(argv: list[str] | None = None) -> None:
    in_steps.run(argv, __doc__, "large", 5_000_000, "rows.parquet", fill, steps, features=FEATURES)


def fill(path: Path, rows: int) -> None:
    """Write numbers that a model can learn something from, each subject's rows scattered over the file."""
    generator = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        x = generator.normal(size=(count, FEATURES)).astype(np.float32)
        columns = {f"f{at}": x[:, at] for at in range(FEATURES)}
        columns |= {"label": (x[:, 0] + x[:, 1] > 0).astype(np.int64)}
        at = np.arange(start, start + count)
        columns |= {"customer": pa.array([f"customer-{number % (rows // ROWS_EACH)}" for number in at])}
        columns |= {"id": pa.array([f"row-{number}" for number in at])}
        table = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def steps(folder: Path) -> dict[str, object]:
    """Each step in turn, with the peak of memory after it."""
    noted = in_steps.Steps()
    note, found = noted.note, noted.found
    workspace = Workspace(folder / "workspace")
    note("import")
    data = Data.from_parquet(folder / "rows.parquet", target="label", subject="customer", id="id")
    note("open")
    assert data.digest
    note("digest")
    register_dataset(workspace, "train", data)
    note("register")
    assert locate(ErasureRequest(subjects=["customer-7"]), workspace).rows == ROWS_EACH
    note("locate")
    recipe = Recipe(build=_build, epochs=1, batch_size=4096)
    training.train(recipe, data)
    note("train one epoch")
    order = np.random.default_rng(0).permutation(len(data))
    for start in range(0, len(data), 4096):
        data.gather(order[start : start + 4096])
    note("of that, reading")
    return {"steps": found, "peak_bytes": max(step["peak_bytes"] for step in found.values())}


def _build() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))


if __name__ == "__main__":
    main()
