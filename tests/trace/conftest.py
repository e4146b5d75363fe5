from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import residual_trace

SIGNALS = ("margin", "augmented", "fisher")


@dataclass(frozen=True)
class Worked:
    """The worked example: readings of 32 members, 40 models under test, and what another program computed of them."""

    want: dict
    values: SplitValues
    tables: dict

    def part(self, case):
        subject = int(self.want["case_subject"][case])
        return Part(subject, self.values.positions[subject])

    def trace(self, case, signal):
        at, part = SIGNALS.index(signal), self.part(case)
        rows = self.want["case_phi"][case, at, : len(part.rows)].astype(float)
        outside = self.want["case_holdout"][case, at].astype(float)
        return residual_trace(self.tables[signal], [part], [rows], [outside])


@pytest.fixture(scope="session")
def worked():
    want = dict(np.load(Path(__file__).parent / "worked_example.npz"))
    positions = [np.flatnonzero(want["subject"] == subject) for subject in range(want["keep"].shape[1])]
    split = SplitValues(
        want["keep"],
        positions,
        {
            name: SignalValues(want["phi"][at].astype(float), want["holdout"][at].astype(float))
            for at, name in enumerate(SIGNALS)
        },
    )
    return Worked(want, split, {name: NullTable(split, name) for name in SIGNALS})
