"""The joint test: against the worked example and by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from neuralyzer.trace.joint import joint_null, joint_test
from tests.trace.conftest import SIGNALS


def table(**z):
    by_subject = {int(name[1:]): np.array(values) for name, values in z.items()}
    return SimpleNamespace(nulls=by_subject, subject_z=by_subject)


TABLES = {
    "a": table(s0=[0.5, -3.0], s1=[1.0, 0.1], s2=[9.0, 9.0]),
    "b": table(s0=[-2.0, 1.0], s1=[0.3, -0.4]),
}


def test_the_worked_example(worked):
    null = joint_null(worked.tables, SIGNALS)
    assert np.quantile(null, 0.95) == pytest.approx(float(worked.want["joint_crit"]), abs=1e-9)
    for case in range(40):
        z = {signal: worked.trace(case, signal).z for signal in SIGNALS}
        got = joint_test(worked.tables, z, SIGNALS, 0.05)
        assert got.p_value == pytest.approx(worked.want["want_joint_p"][case], abs=1e-9)
        assert got.critical == pytest.approx(float(worked.want["joint_crit"]), abs=1e-9)
        assert got.rejects == (worked.want["want_joint_p"][case] <= 0.05)


def test_the_null_is_the_maximum_over_the_pairs_that_have_every_signal():
    assert joint_null(TABLES, ["a", "b"]).tolist() == [2.0, 3.0, 1.0, 0.4]
    assert joint_null(TABLES, ["a"]).tolist() == [0.5, 3.0, 1.0, 0.1, 9.0, 9.0]


@pytest.mark.parametrize(
    ("z", "p", "statistic"),
    [({"a": 0.2, "b": -2.5}, 2 / 5, 2.5), ({"a": 4.0, "b": 0.0}, 1 / 5, 4.0), ({"a": -3.0, "b": 0.0}, 2 / 5, 3.0)],
)
def test_by_hand(z, p, statistic):
    got = joint_test(TABLES, z, ["a", "b"], 0.2)
    assert (got.p_value, got.statistic, got.signals) == (p, statistic, ("a", "b"))
    assert got.rejects == (p <= 0.2)


def test_signals_that_do_not_take_part_say_nothing():
    assert joint_test(TABLES, {"a": 0.2, "b": 50.0}, ["a"], 0.05).statistic == 0.2
