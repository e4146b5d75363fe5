import contextlib
import itertools
import re
from xml.etree import ElementTree

import numpy as np

from neuralyzer.report import attacks, charts, drawing, histograms
from neuralyzer.report.drawing import CHOSEN, ORIGINAL, UNLEARNED
from tests.report.example import result

NOTHING = {"trace": None, "low": None, "high": None}


def family(label, original, unlearned, null=0.2, retrained=()):
    def around(trace):
        return NOTHING if trace is None else {"trace": trace, "low": trace - 0.2, "high": trace + 0.2}

    both = {"original": around(original), "unlearned": around(unlearned)}
    return {"label": label, "null": null, "retrained": list(retrained), **both}


def option(method, seconds, trace, feasible=True, chosen=False):
    return {"method": method, "seconds": seconds, "trace": trace, "feasible": feasible, "chosen": chosen}


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text") if element.text]


def colours(svg):
    return re.findall(r"#[0-9a-f]{6}", svg)


def test_charts_are_what_altairs_schema_allows(monkeypatch):
    """Reports are drawn without Altair's checks; here each mark is made with them."""
    checked = []
    monkeypatch.setattr(drawing.schemapi, "debug_mode", lambda on: contextlib.nullcontext(checked.append(on)))
    families = [family("Retraining", 1.0, 0.1, retrained=(0.1, -0.1)), family("Attack", 0.9, 0.0)]
    assert charts.traces(families) and charts.options([option("retrain", 4.0, 0.0), option("ssd", 1.0, 0.3)], 2.0)
    read = np.random.default_rng(0).normal(size=60).tolist()
    assert histograms.margins(dict.fromkeys(("original", "unlearned", "never_saw", "saw"), read))
    assert attacks.roc(result()["verification"]["attacks"])
    assert len(checked) >= 4


def test_svg_scales_and_refers_to_nothing():
    drawing = charts.traces([family("Retraining", 1.0, 0.1)])
    for svg in (drawing.wide, drawing.narrow):
        root = ElementTree.fromstring(svg)
        assert root.get("viewBox") and "http" not in svg and "xmlns" not in svg
        names = re.findall(r'\bid="([^"]+)"', svg)
        assert names and set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(names)


def test_clip_paths_of_several_charts_do_not_share_names():
    drawing = charts.traces([family("Retraining", 1.0, 0.1)])
    other = charts.traces([family("Retraining", 1.0, 0.2)])
    names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (drawing.wide, drawing.narrow, other.wide)]
    assert not (names[0] & names[1] or names[0] & names[2])
    assert charts.traces([family("Retraining", 1.0, 0.1)]) == drawing


def test_traces_show_both_models():
    drawing = charts.traces([family("Retraining", 1.0, 0.1), family("Attack", 0.9, None)])
    assert {"Retraining", "Attack"} <= set(texts(drawing.wide))
    assert colours(drawing.wide).count(ORIGINAL) == 4  # a point and an interval for each of two families
    assert colours(drawing.wide).count(UNLEARNED) == 2
    assert "Attack: before 90\u202f%, after –." in drawing.says


def test_traces_far_away_do_not_squeeze_the_others():
    drawing = charts.traces([family("Retraining", 1.0, 0.1), family("Accuracy", 400.0, 0.0, null=500.0)])
    ticks = [float(text.rstrip("%").replace("−", "-")) for text in texts(drawing.wide) if text.endswith("%")]
    assert min(ticks) >= -200 and max(ticks) <= 300


def test_nothing_measured_draws_nothing():
    assert charts.traces([]) is None
    assert charts.traces([family("Retraining", None, None, null=None)]) is None
    assert charts.options([], 3.0) is None
    assert charts.options([option("rollback", None, 0.0)], 3.0) is None
    assert histograms.margins({}) is None
    assert histograms.margins({"original": [], "unlearned": [float("nan")]}) is None


def test_options_show_budget_and_choice():
    drawing = charts.options([option("retrain", 9.0, 0.0, False), option("influence", 1.4, 0.1, chosen=True)], 3.1)
    assert {"retrain", "influence", "budget 3.1\u202fs"} <= set(texts(drawing.wide))
    assert CHOSEN in drawing.wide
    assert "influence (chosen)" in drawing.says and "retrain (infeasible)" in drawing.says


def test_names_of_like_options_do_not_lie_on_each_other():
    drawing = charts.options([option(name, 1.0, 0.0) for name in ("retrain", "rollback", "amnesiac")], None)
    for svg in (drawing.wide, drawing.narrow):
        places = re.findall(r'translate\(([-\d.]+),([-\d.]+)\)"[^>]*>(?:retrain|rollback|amnesiac)<', svg)
        heights = sorted(float(y) for _, y in places)
        assert len(heights) == 3 and min(b - a for a, b in itertools.pairwise(heights)) >= 14


def test_names_of_methods_are_escaped():
    drawing = charts.options([option("<script>alert(1)</script>", 1.0, 0.0)], None)
    assert "<script" not in drawing.wide and "&lt;script&gt;" in drawing.wide


def test_bars_of_a_histogram_hold_all_rows():
    read = [-1e6, 0.1, 0.2, 0.3, 5.0, float("inf")]
    bars = histograms._shares(histograms.np.asarray([-1e6, 0.1, 0.2, 5.0]), histograms.np.linspace(0, 1, 11))
    assert sum(bar["share"] for bar in bars) == 1.0
    assert bars[0]["share"] == 0.25 and bars[-1]["share"] == 0.25
    drawing = histograms.margins({"original": read, "unlearned": [1.0, 1.0], "never_saw": [0.0]})
    assert {"Before", "After", "References that never saw the rows"} <= set(texts(drawing.wide))
    assert "After: median 1.00." in drawing.says


def test_margins_that_are_all_the_same_can_be_drawn():
    assert histograms.margins({"original": [2.0] * 5}) is not None
