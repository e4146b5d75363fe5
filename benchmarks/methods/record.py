"""The track record that ships with the package, out of what the benchmark measured: ``python -m benchmarks.methods.record``.

Plans are judged by the benchmark without the record of the rows that they are judged on (``World.kin``).
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks import results
from benchmarks.methods.table import MEASURABLE
from neuralyzer.methods import catalogue
from neuralyzer.planning import track_record
from neuralyzer.planning.track_record import Effort

SOURCES = ("methods", "methods-quick")


def runs(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of algorithms as runs of a ``Record``; a world that stands in two results speaks once.

    Requests whose traces say nothing, since those of retrained models are as large, are left out.
    """
    blurred = {
        (line["world"], line["scenario"])
        for line in lines
        if line["entrant"] == "retrained" and np.median(line["worst"]) >= MEASURABLE
    }
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines:
        effort, _, method = line["entrant"].partition(":")
        if "failed" in line or effort not in set(Effort) or method not in catalogue.names():
            continue
        if (line["world"], line["scenario"]) in blurred:
            continue
        key = (line["world"], line["scenario"], line["entrant"])
        found.setdefault(
            key,
            line["situation"] | {
                "world": line["world"], "scenario": line["scenario"], "method": method, "effort": effort,
                "trace": line["worst"], "utility_loss": line["utility_loss"],
            },
        )  # fmt: skip
    return [found[key] for key in sorted(found)]


def main() -> None:
    """Write it."""
    lines = []
    for name in SOURCES:
        path = results.FOLDER / f"{name}.json"
        if path.exists():
            lines += json.loads(path.read_text())["lines"]
    own = runs(lines)
    with resources.as_file(resources.files(track_record.__package__) / track_record.SHIPPED) as path:
        parquet.write_table(pa.Table.from_pylist(own), Path(path))
    print(f"{len(own)} runs of {len({run['world'] for run in own})} worlds")


if __name__ == "__main__":
    main()
