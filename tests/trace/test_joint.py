"""The joint test: against the worked example and by hand."""

from dataclasses import dataclass

import numpy as np
import pytest

from neuralyzer.trace.joint import joint_null, joint_test
from tests.trace.conftest import SIGNALS


@dataclass(eq=False)
class Played:
    subject_z: dict
    sensitivity: object = None


def table(**z):
    return Played({int(name[1:]): np.array(values) for name, values in z.items()})


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


def test_each_signal_weighs_by_how_finely_it_sees_a_subject():
    """A signal of half the sensitivity counts half, in the null as in the test."""

    def sensitive(z, by_subject):
        made = table(**z)
        made.sensitivity = by_subject.__getitem__
        return made

    tables = {
        "a": sensitive({"s0": [0.5, -3.0], "s1": [1.0, 0.1]}, {0: 2.0, 1: 1.0}),
        "b": sensitive({"s0": [-2.0, 1.0], "s1": [0.3, -4.0]}, {0: 1.0, 1: 4.0}),
    }
    assert joint_null(tables, ["a", "b"], weighted=True).tolist() == [1.0, 3.0, 0.3, 4.0]
    got = joint_test(tables, {"a": -1.0, "b": 3.0}, ["a", "b"], 0.05, {"a": 4.0, "b": 1.0})
    assert (got.statistic, got.p_value) == (1.0, 4 / 5)


def test_the_weights_are_those_of_the_tables(worked):
    """Sensitivity by hand: the unit of a trace over scale and norm of the gap."""
    for signal in SIGNALS:
        own = worked.tables[signal]
        null = own.nulls[3]
        assert own.sensitivity(3) == pytest.approx(null.gap.unit / (own.sd(null) * null.gap.norm))
        both = own.sensitivity_of([own.nulls[3], own.nulls[5]])
        a, b = own.nulls[3], own.nulls[5]
        spread = np.hypot(own.sd(a) * a.gap.norm, own.sd(b) * b.gap.norm)
        assert both == pytest.approx((a.gap.unit + b.gap.unit) / spread)
