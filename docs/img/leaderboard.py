"""Draws what each entrant leaves against what it takes: ``python docs/img/leaderboard.py`` writes ``leaderboard.svg``.

A row per world, a column per scenario, from what ``make bench-methods`` measured; medians over seeds.
"""

import sys
from pathlib import Path
from typing import Any

import altair as alt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import left_behind
from left_behind import Line
from world_tables import WORLDS

PLAN, CASE, DEFAULT, PEER = "plan's choice", "whole case", "algorithm at its paper's defaults", "strategy of erasus"
COLOURS = {PLAN: "#1b7f5a", CASE: "#8fd1b6", DEFAULT: "#3d5a98", PEER: "#d1795b"}
KINDS = {"plan": PLAN, "forget": CASE, "default": DEFAULT, "erasus": PEER}
SHAPES = {PLAN: "diamond", CASE: "diamond", DEFAULT: "circle", PEER: "square"}
SIZES = {PLAN: 200, CASE: 150, DEFAULT: 40, PEER: 30}
INK, BAND, ORIGINAL = "#444444", "#9aa5b1", "#b0413e"
MOST = 150  # %; what leaves more is drawn there
LEAST, LONGEST = 0.3, 600  # % of retraining's time; what takes less is drawn at the edge
WIDTH, HEIGHT = 330, 150


def points(own: list[Line]) -> list[dict[str, Any]]:
    """Return a point for each entrant that was timed, the plan's choice last and so on top."""
    found = []
    for name, ran in left_behind.entrants(own).items():
        kind, took = KINDS.get(name.partition(":")[0]), left_behind.share(ran)
        if kind is not None and took is not None:
            worst = 100 * left_behind.middle(ran, "worst")
            found.append(
                {"kind": kind, "size": SIZES[kind], "share": max(100 * took, LEAST), "worst": min(worst, MOST)}
            )
    return sorted(found, key=lambda point: point["size"])


def panel(title: str, own: list[Line], left: bool, bottom: bool) -> alt.LayerChart:
    """Draw one world and scenario; only the outer panels name their axes."""
    shown = left_behind.retrained(own, "worst")
    original = 100 * left_behind.middle(left_behind.entrants(own)["original"], "worst")
    kinds = list(COLOURS)
    across = alt.X(
        "share:Q", title="time, % of a retraining's (log)" if bottom else None,
        scale=alt.Scale(type="log", domain=[LEAST, LONGEST], nice=False),
        axis=alt.Axis(values=[1, 10, 100], grid=True, labels=bottom, ticks=bottom),
    )  # fmt: skip
    up = alt.Y(
        "worst:Q", title="largest trace, %" if left else None, scale=alt.Scale(domain=[0, MOST], nice=False),
        axis=alt.Axis(values=[0, 50, 100, 150], labels=left, ticks=left),
    )  # fmt: skip
    drawn = (
        alt.Chart(alt.Data(values=points(own)))
        .mark_point(filled=True, opacity=0.85)
        .encode(
            x=across, y=up,
            color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=list(COLOURS.values()))),
            shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[SHAPES[kind] for kind in kinds])),
            size=alt.Size("size:Q", scale=None, legend=None),
        )
    )  # fmt: skip
    band = alt.Data(values=[{"low": 100 * min(shown), "high": min(100 * max(shown), MOST)}])
    clean = alt.Chart(band).mark_rect(color=BAND, opacity=0.35).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = alt.Chart(alt.Data(values=[{"worst": min(original, MOST)}]))
    before = line.mark_rule(color=ORIGINAL, strokeDash=[5, 4]).encode(y="worst:Q")
    return alt.layer(clean, before, drawn).properties(width=WIDTH, height=HEIGHT, title=title)


def picture() -> alt.ConcatChart:
    """Draw all of them."""
    every = left_behind.scenarios(left_behind.lines())
    panels = [
        panel(f"{title}: {name}", every[world, scenario], left=place == 0, bottom=world == list(WORLDS)[-1])
        for world, (title, scenarios) in WORLDS.items()
        for place, (scenario, name) in enumerate(scenarios)
    ]
    return (
        alt.concat(*panels, columns=2, spacing={"column": 24, "row": 46}, bounds="flush")
        .properties(background="#ffffff", padding={"left": 60, "right": 12, "top": 12, "bottom": 50})
        .configure_view(stroke="#dddddd")
        .configure_legend(orient="top", labelFontSize=13, columnPadding=24, labelLimit=0, symbolSize=90, offset=30)
        .configure_title(fontSize=13, fontWeight="bold", color=INK, anchor="start", offset=4)
        .configure_axis(
            labelFontSize=12, titleFontSize=12, labelColor=INK, titleColor=INK, titleFontWeight="normal",
            gridColor="#eeeeee",
        )
    )  # fmt: skip


if __name__ == "__main__":
    picture().save(str(Path(__file__).with_suffix(".svg")))
