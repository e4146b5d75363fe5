"""A ledger of a million entries: appends a second, proofs, the full check, and 20 changed entries that it must find."""

import json
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.ledger import proof
from neuralyzer.ledger.events import Event, Facts
from neuralyzer.ledger.log import Ledger, Record
from neuralyzer.ledger.subject_keys import Subjects
from neuralyzer.workspace.paths import Workspace

ENTRIES, BATCH, CHANGED, PROOFS = 1_000_000, 1_000, 20, 200
EVENTS = (Event.RECEIVED, Event.LOCATED, Event.AUDITED, Event.PLANNED, Event.UNLEARNED, Event.VERIFIED, Event.CERTIFIED,
          Event.RELEASED)  # fmt: skip
FACTS = {Event.VERIFIED: Facts(weights=64 * "7", verdict="forgotten", method="influence")}
SINGLE = 200  # entries that are appended one by one


def main(argv: Sequence[str] = ()) -> None:
    from benchmarks import results  # here, since it imports torch

    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    try:
        measured: dict[str, Any] = {"entries": ENTRIES}
        for stage in STAGES:
            measured[stage] = _apart(stage, folder)
        measured["megabytes"] = (folder / "ledger.sqlite").stat().st_size / 1e6
    finally:
        shutil.rmtree(folder)
    results.write("ledger", measured)


def _append(folder: Path) -> dict[str, float]:
    ledger = Ledger.of(Workspace(folder))
    subjects = [Subjects.of(ledger.workspace, [f"subject {number}"]) for number in range(100)]
    began = time.perf_counter()
    for start in range(0, ENTRIES - SINGLE, BATCH):
        ledger.record_many([_record(subjects, n) for n in range(start, min(start + BATCH, ENTRIES - SINGLE))])
    batches = time.perf_counter() - began
    began = time.perf_counter()
    for number in range(ENTRIES - SINGLE, ENTRIES):
        ledger.record_many([_record(subjects, number)])
    single = time.perf_counter() - began
    began = time.perf_counter()
    ledger.checkpoint()
    return {
        "per_second": (ENTRIES - SINGLE) / batches, "batch": BATCH, "one_by_one_per_second": SINGLE / single,
        "checkpoint_seconds": time.perf_counter() - began,
    }  # fmt: skip


def _record(subjects: list[Subjects], number: int) -> Record:
    case, event = divmod(number, len(EVENTS))
    of = EVENTS[event]
    return Record(of, f"case-{case:012x}", subjects[case % len(subjects)], FACTS.get(of, Facts()))


def _prove(folder: Path) -> dict[str, float]:
    ledger = Ledger.of(Workspace(folder))
    note, seconds = ledger.checkpoint(), []
    for position in np.random.default_rng(0).choice(ENTRIES, PROOFS, replace=False).tolist():
        began = time.perf_counter()
        made = ledger.proof(position, note)
        seconds.append(time.perf_counter() - began)
        proof.verify(made)
    return {"milliseconds": 1e3 * statistics.median(seconds), "slowest_milliseconds": 1e3 * max(seconds)}


def _check(folder: Path) -> dict[str, Any]:
    ledger = Ledger.of(Workspace(folder))
    began = time.perf_counter()
    faults = ledger.check()
    assert not faults, faults[:3]
    return {"seconds": time.perf_counter() - began}


def _changed(folder: Path) -> dict[str, Any]:
    places = np.sort(np.random.default_rng(1).choice(ENTRIES, CHANGED, replace=False)).tolist()
    database = sqlite3.connect(folder / "ledger.sqlite")
    with database:
        database.executemany(
            "UPDATE ledger_entries SET body = replace(body, ':', ';') WHERE position = ?", [(n,) for n in places]
        )
    database.close()
    faults = Ledger.of(Workspace(folder)).check()
    assert [(fault.first, fault.last) for fault in faults] == [(place, place) for place in places]
    return {"entries": CHANGED, "found": len(faults)}


def _about(folder: Path) -> dict[str, Any]:
    ledger = Ledger.of(Workspace(folder))
    began = time.perf_counter()
    found = sum(1 for _ in ledger.entries_about("subject 7"))
    return {"seconds": time.perf_counter() - began, "found": found}


STAGES = {"append": _append, "proof": _prove, "check": _check, "about": _about, "changed": _changed}


def _apart(stage: str, folder: Path) -> dict[str, Any]:
    """Run a stage in a process of its own, which imports no more than the ledger."""
    words = [sys.executable, "-m", "benchmarks.ledger", stage, str(folder)]
    return dict(json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout))


def _peak() -> float:
    """Return the most memory that this process held, in MB; unlike getrusage, without what the parent held (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


if __name__ == "__main__":
    if len(sys.argv) == 3:
        json.dump({**STAGES[sys.argv[1]](Path(sys.argv[2])), "peak_mb": _peak()}, sys.stdout)
    else:
        main()
