"""The forecast of a pool: its figures, their source, what a person reads."""

import json
from dataclasses import replace

import pytest

from neuralyzer.planning.forecast import REQUEST, Forecast, amount, duration, forecast
from neuralyzer.references.cost_estimate import estimate_cost
from neuralyzer.trace.power import DIGITS
from tests.verification.test_audit import render


@pytest.fixture(scope="module")
def ahead(made_world):
    return forecast(made_world.oracle, 64, workspace=made_world.root / "elsewhere", backend="vectorised")


def test_before_there_are_references(ahead):
    assert ahead.untrained == ahead.size == 64 and ahead.seconds > 0 and ahead.hours == ahead.seconds / 3600
    assert ahead.disk_bytes > 64 * 500 * 4 * 5 and ahead.memory_bytes > 0
    assert not ahead.refitted and ahead.formula == DIGITS
    assert [line["subject"] for line in ahead.power][::2] == ["smallest", "median", "largest"]
    rows, power = [line["rows"] for line in ahead.power], [line["power"] for line in ahead.power]
    assert rows == sorted(rows) and rows[-1] >= 40 and power == sorted(power) and 0 < power[0] <= power[-1] <= 1


def test_it_pays_once_what_requests_save_is_what_it_took(ahead):
    saved = (1 - REQUEST) * ahead.retrain_seconds
    assert (ahead.pays_after - 1) * saved < ahead.seconds <= ahead.pays_after * saved


def test_a_finished_smaller_pool_is_what_the_formula_is_fitted_on(made_world):
    grown = forecast(made_world.oracle, 64, 0.4, workspace=made_world.workspace, backend="vectorised")
    assert grown.refitted and grown.formula.signal != "" and (grown.size, grown.untrained) == (64, 32)
    here = forecast(made_world.oracle, 32, 0.4, workspace=made_world.workspace, backend="vectorised")
    assert (here.untrained, here.seconds) == (0, 0.0) and here.formula == grown.formula


def test_nobody_knows_how_long_ones_own_training_takes(made_world, monkeypatch):
    def unknown(*given):
        return replace(estimate_cost(*given), train=None, retrain=None)

    monkeypatch.setattr("neuralyzer.planning.forecast.estimate_cost", unknown)
    found = forecast(made_world.oracle, 64, backend="vectorised")
    assert found.seconds is None and found.hours is None and found.pays_after is None
    assert "a time that nobody knows" in render(found, 100) and "nobody knows after how many" in render(found, 100)


def test_it_is_plain_values(ahead):
    written = json.loads(json.dumps(ahead.to_dict(), allow_nan=False))
    assert set(written) == {
        "size", "untrained", "seconds", "hours", "disk_bytes", "memory_bytes", "power", "pays_after",
        "retrain_seconds", "refitted", "formula", "backend",
    }  # fmt: skip
    assert written["backend"] == "vectorised: asked for"


@pytest.mark.parametrize("width", [80, 140])
def test_a_person_can_read_it(ahead, width):
    shown = " ".join(render(ahead, width).split())
    for word in ("64 references, 64 of them to be trained", "smallest", "largest", "the digits' (no", "pays after"):
        assert word in shown
    assert isinstance(ahead, Forecast)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.31, "0.3 s"), (42.2, "42 s"), (89, "89 s"), (120, "2.0 minutes"), (9000, "2.5 hours")]
)
def test_duration(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(1500, "2 kB"), (2_500_000, "2.5 MB"), (3 * 10**9, "3.0 GB")])
def test_amount(count, said):
    assert amount(count) == said
