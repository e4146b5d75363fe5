"""The track record that ships with the package, out of what the benchmark measured: ``python -m benchmarks.methods.record``.

Plans are judged by the benchmark without the record of the rows that they are judged on (``World.kin``).
"""

from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from benchmarks import results
from benchmarks.methods import table
from neuralyzer.planning import track_record
from neuralyzer.planning.track_record import Effort


def runs(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of algorithms as runs of a ``Record``.

    A run left what the families that count say, less what retrained models show; requests where none counts are left
    out.

    Returns:
        The runs, in order.
    """
    retrained = {(line["world"], line["scenario"]): line for line in lines if line["entrant"] == "retrained"}
    found = []
    for line in sorted(lines, key=lambda line: (line["world"], line["scenario"], line["entrant"])):
        effort, _, method = line["entrant"].partition(":")
        place = (line["world"], line["scenario"])
        if "failed" in line or effort not in set(Effort):
            continue
        trace = table.left(line, retrained[place])
        if trace is None:
            continue
        own = {"world": line["world"], "scenario": line["scenario"], "method": method, "effort": effort}
        found.append(line["situation"] | own | {"trace": trace, "utility_loss": line["utility_loss"]})
    return found


def main() -> None:
    """Write it."""
    own = runs(results.read("methods")["lines"])
    with resources.as_file(resources.files(track_record.__package__) / track_record.SHIPPED) as path:
        parquet.write_table(pa.Table.from_pylist(own), Path(path))
    print(f"{len(own)} runs of {len({run['world'] for run in own})} worlds")


if __name__ == "__main__":
    main()
