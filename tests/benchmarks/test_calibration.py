"""The calibration's own arithmetic: rates with their intervals, known parts of a trace, the docs' tables."""

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.calibration import figures
from benchmarks.calibration.worlds import BUILDERS, world


def line(request, hit, world_="w", split="judging", **more):
    return {"world": world_, "half": split, "request": request, "rejects": hit, **more}


def rejects(own):
    return own["rejects"]


@pytest.mark.parametrize(("hits", "cases"), [(0, 40), (3, 210), (40, 40)])
def test_wilson_as_scipy_has_it(hits, cases):
    want = binomtest(hits, cases).proportion_ci(method="wilson")
    assert figures.wilson(hits, cases) == pytest.approx([want.low, want.high], abs=1e-4)


def test_a_rate_whose_cases_go_together_is_less_sure():
    """Ten subjects of ten models: where a subject's models agree, there are ten cases and not a hundred."""
    generator = np.random.default_rng(0)
    apart = [line(f"s{k // 10}", bool(generator.random() < 0.3)) for k in range(100)]
    together = [line(f"s{k // 10}", k // 10 < 3) for k in range(100)]
    loose, tight = figures.rate(together, rejects), figures.rate(apart, rejects)
    assert loose["share"] == 0.3 and loose["cases"] == tight["cases"] == 100
    assert loose["high"] - loose["low"] > 1.5 * (tight["high"] - tight["low"])
    assert figures.rate([], rejects)["share"] is None


def test_intervals_against_their_own_truth():
    trace = {"margin": {"trace": 0.4, "low": 0.1, "high": 0.6, "detectable": 0.8}}
    lines = [
        line("a", False, traces=trace, truth={"margin": 0.5}),
        line("b", False, traces=trace, truth={"margin": 0.7}),
    ]
    own = figures.intervals(lines, None)["margin"]
    assert (own["truth"], own["mean"], own["coverage"]) == (pytest.approx(0.6), 0.4, 0.5)
    assert figures.intervals(lines, 0.2)["margin"]["coverage"] == 1
    assert figures.finest(lines[0]) == 0.8


@pytest.mark.parametrize("name", [name for name in BUILDERS if not name.startswith(("cifar", "hard"))])
def test_worlds_are_what_they_say(name):
    own = world(name)
    subjects = set(own.data.subjects)
    assert own.requests or own.retrained == 0
    assert all(set(request) <= subjects for request in own.requests)
    assert len(own.holdout) >= 200 and not set(own.data.ids) & set(own.holdout.ids)


def test_siblings_are_split_clusters():
    own = world("siblings-19")
    families = {name.rpartition("-")[0] for name in own.data.subjects}
    assert len(families) == 10 and len(set(own.data.subjects)) == 30
