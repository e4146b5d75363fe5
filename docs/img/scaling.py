"""Draws cost against size for ``docs/costs.md``: ``python docs/img/scaling.py`` writes ``scaling.svg`` beside it.

From what ``python -m benchmarks scaling`` measured.
"""

import json
from pathlib import Path
from typing import Any

import altair as alt

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "scaling.json"
COSTS = {"training": "#9aa5b1", "pool": "#3d5a98", "first audit": "#c77d2e", "unlearning": "#2a9d6f"}
INK = "#555555"


def lines(content: dict[str, Any], table: str, size: str) -> list[dict[str, Any]]:
    """Seconds of each cost by size."""
    exponents = content[f"exponent_of_{size}"]
    return [
        {"size": line[size], "seconds": line[cost], "cost": cost, "exponent": f"{exponents[cost]:.2f}"}
        for line in content[table]
        for cost in COSTS
    ]


def panel(values: list[dict[str, Any]], title: str) -> alt.LayerChart:
    """A picture of one size, with the fitted exponent at the end of each line."""
    sizes = sorted({value["size"] for value in values})
    along = alt.Axis(grid=False, values=sizes, format=",d")
    up = alt.Axis(values=[0.1, 1, 10, 100], tickCount=4)
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("size:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=28), axis=along),
        y=alt.Y("seconds:Q", title="seconds", scale=alt.Scale(type="log", domain=[0.1, 300]), axis=up),
        color=alt.Color(
            "cost:N", title=None, sort=list(COSTS), scale=alt.Scale(domain=list(COSTS), range=list(COSTS.values()))
        ),
    )
    last = max(value["size"] for value in values)
    labels = base.transform_filter(alt.datum.size == last).mark_text(align="left", dx=8, fontSize=13)
    drawn = base.mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=45))
    return alt.layer(drawn, labels.encode(text="exponent:N")).properties(width=300, height=280)


def picture() -> alt.HConcatChart:
    """Rows on the left, parameters on the right."""
    content = json.loads(RESULTS.read_text())
    left = panel(lines(content, "rows", "rows"), "training rows")
    right = panel(lines(content, "width", "parameters"), "parameters")
    return (
        alt.hconcat(left, right)
        .properties(background="#ffffff", padding=12)
        .configure_view(stroke=None)
        .configure_legend(orient="bottom", labelFontSize=13)
        .configure_axis(labelFontSize=13, titleFontSize=13, labelColor=INK, titleColor=INK, titleFontWeight="normal")
    )


if __name__ == "__main__":
    picture().save(str(Path(__file__).with_suffix(".svg")))
