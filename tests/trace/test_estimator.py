"""The estimator: which signals a request has, and that it agrees with null table and joint test."""

from types import SimpleNamespace

import pytest

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.signal_values import SplitValues
from neuralyzer.signals.signal import Family
from neuralyzer.trace.estimator import Estimates, TraceEstimator, family_rows
from neuralyzer.trace.joint import joint_test
from tests.trace.conftest import SIGNALS

FAMILIES = dict(zip(SIGNALS, (Family.RETRAINING, Family.ATTACK, Family.INFORMATION), strict=True))


class PlayedMeter:
    """Gives a case's readings for the number of the case."""

    def __init__(self, worked, lacks=()):
        self.worked, self.lacks = worked, lacks
        self.signals = {name: SimpleNamespace(name=name, family=family) for name, family in FAMILIES.items()}

    def measures(self, signal, parts):
        return signal.name not in self.lacks

    def read(self, case, parts, names=None):
        rows, outside = self.worked.want["case_phi"][case], self.worked.want["case_holdout"][case]
        return {
            name: Reading([rows[at, : len(part.rows)].astype(float) for part in parts], [outside[at].astype(float)])
            for at, name in enumerate(SIGNALS)
            if name not in self.lacks
        }


def estimator(worked, case, **given):
    split = SimpleNamespace(values=worked.values, evaluator=PlayedMeter(worked, **given))
    return TraceEstimator(split, [worked.part(case)], 0.05)


@pytest.mark.parametrize("case", [0, 25])
def test_it_reads_what_the_tables_say(worked, case):
    own = estimator(worked, case)
    estimates = own.read(case)
    assert dict(estimates.traces) == {signal: worked.trace(case, signal) for signal in SIGNALS}
    z = {signal: worked.trace(case, signal).z for signal in SIGNALS}
    sensitivity = {signal: worked.tables[signal].sensitivity(worked.part(case).subject) for signal in SIGNALS}
    assert estimates.joint == joint_test(worked.tables, z, SIGNALS, 0.05, sensitivity)
    assert estimates.detectable == {signal: worked.trace(case, signal).detectable for signal in SIGNALS}


def test_only_what_counts_is_tested_jointly(worked):
    estimates = estimator(worked, 0).read(0, counts=["fisher"])
    want = joint_test(worked.tables, {"fisher": worked.trace(0, "fisher").z}, ["fisher"], 0.05)
    assert estimates.joint.p_value == want.p_value and set(estimates.traces) == set(SIGNALS)
    assert estimator(worked, 0).read(0, counts=[]).joint.signals == SIGNALS  # where none counts, all


def test_a_signal_that_the_request_has_not(worked):
    own = estimator(worked, 0, lacks=("augmented",))
    assert own.signals == ["margin", "fisher"] and own.read(0).joint.signals == ("margin", "fisher")
    nothing = estimator(worked, 0, lacks=SIGNALS)
    assert nothing.signals == [] and nothing.read(0) == Estimates({}, None) and not nothing.read(0).rejects


def test_a_subject_that_the_pool_cannot_judge(worked):
    keep = worked.values.keep.copy()
    keep[:, 4] = True
    split = SplitValues(keep, worked.values.positions, worked.values.signals)
    case = next(c for c in range(40) if worked.want["case_subject"][c] != 4)
    parts = [worked.part(case), type(worked.part(case))(4, worked.values.positions[4])]
    bound = SimpleNamespace(values=split, evaluator=PlayedMeter(worked))
    assert TraceEstimator(bound, parts[:1], 0.05).signals == list(SIGNALS)
    assert TraceEstimator(bound, parts, 0.05).signals == []


def test_a_null_too_small_to_reject_is_no_test(worked):
    """Three subjects, left out by six members each: 18 scores, of which no model can be odder than one in 19."""
    split = SplitValues(worked.values.keep, worked.values.positions[:3], worked.values.signals)
    case = next(c for c in range(40) if worked.want["case_subject"][c] < 3)
    bound = SimpleNamespace(values=split, evaluator=PlayedMeter(worked))
    assert TraceEstimator(bound, [worked.part(case)], 0.05).signals == []
    assert TraceEstimator(bound, [worked.part(case)], 1 / 19).signals == list(SIGNALS)


def test_a_line_a_family(worked):
    own = estimator(worked, 0)
    rows = family_rows(own, own.read(0), counts=["margin"])
    assert [(row["family"], row["signal"], row["counts"]) for row in rows] == [
        ("retraining", "margin", True),
        ("attack", "augmented", False),
        ("information", "fisher", False),
    ]
    trace = worked.trace(0, "margin")
    assert rows[0]["trace"] == trace.trace and rows[0]["high"] == trace.high and rows[0]["p_value"] == trace.p_value
