"""A benchmark of many rows: its data are made in one process, and read step by step in another."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import results


class Steps:
    """Seconds of each step, and the peak of memory after it.

    Attributes:
        found: by the step's name.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._began = time.perf_counter()

    def note(self, name: str) -> None:
        """End a step."""
        self.found[name] = {"seconds": round(time.perf_counter() - self._began, 2), "peak_bytes": peak_bytes()}
        print(name, self.found[name], file=sys.stderr)
        self._began = time.perf_counter()


def peak_bytes() -> int:
    """Return the peak of this process's memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def run(
    argv: list[str] | None,
    about: str | None,
    name: str,
    rows: int,
    file: str,
    fill: Callable[[Path, int], None],
    steps: Callable[[Path], dict[str, object]],
    **settings: Any,
) -> None:
    """Run a benchmark and write its results.

    Args:
        argv: of the command line.
        about: what its help says.
        name: of the benchmark's module and results.
        rows: how many by default.
        file: name of the data's file.
        fill: makes the file.
        steps: reads the folder that has it, and returns what was measured.
        settings: what the results say besides.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--child", type=Path, help="the folder of the data; used by the benchmark itself")
    parser.add_argument("--fill", action="store_true", help="only make the data in that folder")
    options = parser.parse_args(argv)
    if options.child is not None:
        if options.fill:
            fill(options.child / file, options.rows)
        else:
            print(json.dumps(steps(options.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--rows", str(options.rows), "--child", folder]
        # made in a process of its own, for a child's peak begins with what its parent has in memory
        subprocess.run([*command, "--fill"], check=True)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        written = (Path(folder) / file).stat().st_size
    measured = json.loads(done.stdout.splitlines()[-1])
    results.write(name, {"rows": options.rows, **settings, "file_bytes": written, **measured})
