"""The planning formula against worlds whose constants are known, and against its own closed form."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.power import DIGITS, Formula, refit
from neuralyzer.trace.residual import residual_trace
from tests.trace.world import gaussian


def formula(**given):
    return Formula(**({
        "signal": "own", "c0": 1.0, "rho": 0.0, "gaps": (1.0,), "critical": 2.0, "n_never": 6.0, "refitted": True,
    } | given))  # fmt: skip


def test_power_by_hand():
    """Thirty rows, d = 1, 32 members that lack 6 / 32 each: se^2 = 1 / 30 + (3 / 32)^2."""
    se = np.sqrt(1 / 30 + (3 / 32) ** 2)
    assert formula().power(30, 32) == pytest.approx(norm.cdf(1 / se - 2))
    assert formula().power(30, 32, trace=0.5) == pytest.approx(norm.cdf(0.5 / se - 2))
    shared = np.sqrt((1 + 0.5 * 29) / 30 + (3 / 32) ** 2)
    assert formula(rho=0.5).power(30, 32) == pytest.approx(norm.cdf(1 / shared - 2))


def test_power_is_averaged_over_subjects():
    each = [formula(gaps=(gap,)).power(20, 32) for gap in (0.1, 4.0)]
    assert formula(gaps=(0.1, 4.0)).power(20, 32) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("one", [formula(), DIGITS])
def test_more_rows_and_more_members_never_hurt(one):
    rows = [one.power(n, 32) for n in (1, 5, 20, 80, 320)]
    members = [one.power(30, m) for m in (12, 16, 32, 64)]
    assert rows == sorted(rows) and members == sorted(members)
    assert all(0 <= p <= 1 for p in rows + members)


def test_refitting_finds_what_a_gaussian_world_was_made_with():
    """Independent rows of noise 1 spread: c0 is 1 and what the means of 6 members add to score and unit."""
    found = refit({"own": NullTable(gaussian(0, members=32, subjects=24, size=40).values, "own")})
    assert found.refitted and found.signal == "own" and found.n_never == 6
    assert found.rho == 0 and 1 < found.c0 < 3
    assert np.mean(found.gaps) == pytest.approx(
        1.5, abs=0.4
    )  # of gaps .2 to 1.8 spreads, the mean square is 1.21 and estimation adds


def test_refitted_power_is_what_models_show():
    """Models that saw a subject, in worlds of little gap, are found about as often as is predicted."""
    world = gaussian(3, members=32, subjects=24, size=12, gap=0.8)
    table = NullTable(world.values, "own")
    generator, found = np.random.default_rng(4), []
    for subject in range(24):
        for _ in range(8):
            rows, outside = world.model(subject, 1.0, generator)
            found.append(residual_trace(table, [world.part(subject)], [rows], [outside]).z > table.critical)
    assert refit({"own": table}).power(12, 32) == pytest.approx(np.mean(found), abs=0.12)


def test_the_signal_that_tells_most_is_taken():
    weak, strong = gaussian(1, gap=0.2).values, gaussian(1, gap=1.5).values
    assert refit({"weak": NullTable(weak, "own"), "strong": NullTable(strong, "own")}).signal == "strong"


def test_nothing_to_fit():
    assert refit({"own": NullTable(gaussian(0, subjects=2).values, "own")}) is None and refit({}) is None
    assert not DIGITS.refitted


def test_the_digits_constants_are_the_benchmarks():
    measured = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "power.json").read_text())["formula"]
    assert DIGITS.signal == measured["signal"] and DIGITS.n_never == measured["n_never"]
    for name in ("c0", "rho", "critical", "gaps"):
        assert getattr(DIGITS, name) == pytest.approx(measured[name], rel=5e-3)
