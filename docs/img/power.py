"""Draws what a pool buys for ``docs/pool.md``: ``python docs/img/power.py`` writes ``power.svg`` beside it.

From the planning formula as ``python -m benchmarks power`` refitted it on the digits.
"""

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from neuralyzer.trace.power import DIGITS

SIZES = {32: "#b7c4d8", 64: "#3d5a98", 128: "#2a9d6f"}
ROWS, INK = (1, 200), "#555555"


def values() -> list[dict[str, Any]]:
    """Power by rows and members."""
    rows = np.unique(np.round(np.geomspace(*ROWS, 60)).astype(int))
    return [
        {"rows": int(n), "power": DIGITS.power(int(n), size // 2), "members": f"{size} members"}
        for size in SIZES
        for n in rows
    ]


def picture() -> alt.LayerChart:
    """The whole picture."""
    names = [f"{size} members" for size in SIZES]
    lines = (
        alt.Chart(alt.Data(values=values()))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X(
                "rows:Q",
                title="rows of the subject",
                scale=alt.Scale(type="log", domain=list(ROWS), nice=False),
                axis=alt.Axis(values=[1, 2, 5, 10, 20, 50, 100, 200], grid=False),
            ),
            y=alt.Y(
                "power:Q",
                title="the original is found",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
            ),
            color=alt.Color(
                "members:N",
                title=None,
                sort=names,
                scale=alt.Scale(domain=names, range=list(SIZES.values())),
                legend=alt.Legend(orient="bottom-right", labelFontSize=13),
            ),
        )
    )
    return (
        alt.layer(lines)
        .properties(width=560, height=300, background="#ffffff", padding=12)
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=13, titleFontSize=13, labelColor=INK, titleColor=INK, titleFontWeight="normal")
    )


if __name__ == "__main__":
    picture().save(Path(__file__).with_name("power.svg"))
