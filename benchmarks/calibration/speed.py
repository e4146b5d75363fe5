"""What one more subject costs once a pool is ready."""

import time
from typing import Any

import numpy as np

from benchmarks.calibration.models import Made
from neuralyzer.data.request import ErasureRequest
from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import residual_trace
from neuralyzer.verification.audit import audit
from neuralyzer.verification.verify import verify


def measured(made: Made) -> dict[str, Any]:
    """Milliseconds of a trace of 100 rows against 64 references; seconds of an audit and a verification on digits."""
    generator = np.random.default_rng(0)
    members, subjects, rows = 64, 20, 100
    keep = generator.random((members, subjects)) < 0.9
    keep[:8] = True
    for subject in range(subjects):
        keep[generator.permutation(members)[:8], subject] = False
    phi = generator.normal(size=(members, subjects * rows)) + np.repeat(keep, rows, 1)
    positions = list(np.arange(subjects * rows).reshape(subjects, rows))
    split = SplitValues(keep, positions, {"own": SignalValues(phi, generator.normal(size=(members, 360)))})
    table = NullTable(split, "own")
    assert table.critical > 0  # the other subjects' nulls are ready
    seconds = []
    for subject in range(subjects):
        began = time.perf_counter()
        part = Part(subject, positions[subject][1:])  # not a whole subject, so that its null is computed anew
        residual_trace(table, [part], [phi[0, part.rows]], [split.signals["own"].holdout[0]])
        seconds.append(time.perf_counter() - began)
    oracle, pool = made.oracle, made.references
    names = sorted({str(name) for name in made.world.data.subjects})
    audits, verdicts = [], []
    for name in names[:6]:
        request = ErasureRequest(subjects=[name])
        began = time.perf_counter()
        audit(oracle, request, pool)
        audits.append(time.perf_counter() - began)
        began = time.perf_counter()
        verify(oracle.model, oracle, request, pool)
        verdicts.append(time.perf_counter() - began)
    return {
        "trace of 100 rows, 64 members, ms": 1000 * float(np.median(seconds)),
        "audit with all families and attacks, s: first, then median": [audits[0], float(np.median(audits[1:]))],
        "verification, s: first, then median": [verdicts[0], float(np.median(verdicts[1:]))],
    }
