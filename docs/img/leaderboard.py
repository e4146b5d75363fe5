"""Draws what each entrant leaves against what it takes: ``python docs/img/leaderboard.py`` writes ``leaderboard.svg``.

From what ``make bench-methods`` measured; medians over seeds.
"""

import sys
from pathlib import Path
from statistics import median
from typing import Any

import altair as alt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import left_behind

KINDS = {
    "plan": ("plan's choice", "#2a9d6f"), "default": ("paper's defaults", "#3d5a98"),
    "tuned": ("blind search", "#c77d2e"), "within": ("the same, cut at a tenth", "#e0b07a"),
    "erasus": ("erasus 0.2.0", "#b0413e"),
}  # fmt: skip
INK, BAND = "#555555", "#9aa5b1"
MOST = 125  # %; what leaves more is drawn there
COLUMNS = 2
SMALL, LARGE = 60, 260


def points(own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A point for each entrant that was timed."""
    found = []
    for name, ran in left_behind.entrants(own).items():
        kind, took = name.partition(":")[0], left_behind.share(ran)
        if kind in KINDS and took is not None:
            worst = 100 * median(line["worst"] for line in ran)
            size = LARGE if kind == "plan" else SMALL
            found.append(
                {"kind": KINDS[kind][0], "share": max(100 * took, 0.1), "worst": min(worst, MOST), "size": size}
            )
    return sorted(found, key=lambda point: point["size"])  # the plan's lies on top


def panel(title: str, own: list[dict[str, Any]]) -> alt.LayerChart:
    """One kind of world and scenario; the band is what models retrained without the rows show."""
    retrained = [value for line in own if line["entrant"] == "retrained" for value in line["worst"]]
    band = alt.Data(values=[{"low": 100 * min(retrained), "high": min(100 * max(retrained), MOST)}])
    up = alt.Y("worst:Q", title="largest trace, %", scale=alt.Scale(domain=[0, MOST]))
    drawn = (
        alt.Chart(alt.Data(values=points(own)))
        .mark_point(filled=True, opacity=0.85)
        .encode(
            x=alt.X(
                "share:Q", title="share of retraining's time, %", scale=alt.Scale(type="log", domain=[0.1, 1000]),
                axis=alt.Axis(values=[0.1, 1, 10, 100, 1000], grid=False),
            ),
            y=up,
            size=alt.Size("size:Q", scale=None, legend=None),
            color=alt.Color(
                "kind:N", title=None,
                scale=alt.Scale(domain=[name for name, _ in KINDS.values()], range=[own for _, own in KINDS.values()]),
            ),
        )
    )  # fmt: skip
    clean = alt.Chart(band).mark_rect(color=BAND, opacity=0.35).encode(y=alt.Y("low:Q"), y2="high:Q")
    return alt.layer(clean, drawn).properties(width=330, height=200, title=title)


def picture() -> alt.ConcatChart:
    """All of them."""
    panels = [panel(left_behind.TITLES[key], own) for key, own in left_behind.scenarios(left_behind.lines()).items()]
    return (
        alt.concat(*panels, columns=COLUMNS)
        .properties(background="#ffffff", padding=12)
        .configure_view(stroke=None)
        .configure_legend(orient="bottom", labelFontSize=13, columnPadding=36)
        .configure_title(fontSize=13, fontWeight="normal", color=INK, anchor="start")
        .configure_axis(labelFontSize=12, titleFontSize=12, labelColor=INK, titleColor=INK, titleFontWeight="normal")
    )


if __name__ == "__main__":
    picture().save(str(Path(__file__).with_suffix(".svg")))
