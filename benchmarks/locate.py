"""How long it takes to find one subject among 10 million rows, and among 100 million."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from neuralyzer.data.request import ErasureRequest
from neuralyzer.registry.locate import locate
from neuralyzer.registry.lookups import rows_of
from neuralyzer.registry.manifests import DatasetVersion, datasets, write_manifest
from neuralyzer.workspace import atomic, digests
from neuralyzer.workspace.paths import Workspace

RESULTS = Path(__file__).parent / "results" / "locate.json"
COLD = """
import json, sys, time
began = time.perf_counter()
from neuralyzer.data.request import ErasureRequest
from neuralyzer.registry.locate import locate
imported = time.perf_counter()
found = locate(ErasureRequest(subjects=[sys.argv[2]]), sys.argv[1])
done = time.perf_counter()
lines = open("/proc/self/status").read().splitlines()  # getrusage has the peak of the process that started this one
used = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
print(json.dumps({"import_s": imported - began, "locate_s": done - imported, "peak_mb": used, "rows": found.rows}))
"""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rows-each", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    measured = []
    for subjects in options.subjects:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(Workspace(Path(folder)), subjects, options.rows_each))
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
    }
    atomic.write_json(options.out, {"machine": machine, "sizes": measured})
    print(json.dumps({"machine": machine, "sizes": measured}, indent=1))


def measure(workspace: Workspace, subjects: int, rows_each: int) -> dict[str, object]:
    began = time.perf_counter()
    version = fill(workspace, subjects, rows_each)
    written = time.perf_counter() - began
    asked = [digests.of_bytes(str(at * (subjects // 8)).encode())[:32] for at in range(8)]
    path = Path(str(version.manifest))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, "-c", COLD, str(workspace.root), asked[0]]
    cold = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert cold["rows"] == rows_each
    lookups, whole = [], []
    for subject in asked:
        began = time.perf_counter()
        (rows,) = rows_of([path], [subject])
        lookups.append(time.perf_counter() - began)
        found = locate(ErasureRequest(subjects=[subject]), workspace)
        whole.append(found.seconds)
        assert len(rows) == found.rows == rows_each
    return {
        "rows": subjects * rows_each,
        "subjects": subjects,
        "manifest_mb": round(path.stat().st_size / 1e6),
        "write_s": round(written, 1),
        "cold_process": {name: round(value, 3) for name, value in cold.items() if name != "rows"},
        "warm_lookup_s": round(statistics.median(lookups), 4),
        "warm_locate_with_duplicates_s": round(statistics.median(whole), 3),
    }


def fill(workspace: Workspace, subjects: int, rows_each: int) -> DatasetVersion:
    """A registered version as ``register_dataset`` leaves it, made without ten million Python objects."""
    digest = digests.of_json([subjects, rows_each])
    folder = workspace.datasets / f"many-{digest[:12]}"
    version = DatasetVersion("many", digest, subjects * rows_each, "training", False, folder / "manifest.parquet")
    with duckdb.connect(config={"threads": 2}) as connection:
        rows = connection.sql(
            "SELECT 'r' || i AS row_id, substr(sha256(CAST(i % $subjects AS VARCHAR)), 1, 32) AS subject, "
            "unhex(sha256('row' || i)) AS digest, CAST(i AS UINTEGER) AS position FROM range($rows) numbers(i)",
            params={"subjects": subjects, "rows": subjects * rows_each},
        )
        write_manifest(rows, folder / "manifest.parquet")
    atomic.write_json(folder / "dataset.json", version.to_dict())
    assert datasets(workspace) == [version]
    return version


if __name__ == "__main__":
    main()
