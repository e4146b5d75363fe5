"""Draws the residual trace for the docs' first page: ``python docs/img/draw.py`` writes ``trace.svg`` beside it.

An illustration: the curves are normal densities, the model's reading is chosen, nothing is measured.
"""

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

NEVER, SAW, OURS, INK, PALE = "#2a9d6f", "#d1495b", "#3d5a98", "#555555", "#f4f6f8"
HALF_WIDTH = 0.36  # of the interval, drawn at the critical value of the null
ORIGINAL, UNLEARNED = 1.04, 0.08


def density(mean: float, spread: float) -> list[dict[str, float]]:
    """A normal density over the axis, its peak at 1."""
    at = np.linspace(-0.7, 1.7, 241)
    height = np.exp(-((at - mean) ** 2) / (2 * spread**2))
    return [{"trace": float(x), "height": float(h)} for x, h in zip(at, height, strict=True)]


def trace(values: list[dict[str, Any]], **scale: Any) -> alt.Chart:
    """A chart of these values over the axis of traces."""
    return alt.Chart(alt.Data(values=values)).encode(
        x=alt.X(
            "trace:Q",
            title="residual trace",
            scale=alt.Scale(domain=[-0.6, 1.6], nice=False, clamp=True),
            axis=alt.Axis(values=[-0.5, 0, 0.5, 1, 1.5], format=".0%", grid=False),
        ),
        **scale,
    )


def hump(mean: float, spread: float, colour: str) -> alt.Chart:
    """Where one kind of model lies."""
    height = alt.Y("height:Q", axis=None, scale=alt.Scale(domain=[-0.9, 1.45]))
    return trace(density(mean, spread), y=height).mark_area(
        color=colour, opacity=0.28, line={"color": colour, "strokeWidth": 1.5}
    )


def label(at: float, height: float, text: str, colour: str, **style: Any) -> alt.Chart:
    """Words in the picture."""
    look = {"fontSize": 13, "color": colour, "align": "center"} | style
    return trace([{"trace": at, "height": height, "text": text}], y="height:Q").mark_text(**look).encode(text="text:N")


def reading(at: float, height: float, text: str, colour: str) -> alt.LayerChart:
    """A model's reading with its interval."""
    row = [{"trace": at, "low": at - HALF_WIDTH, "high": at + HALF_WIDTH, "height": height}]
    bar = trace(row, y="height:Q").mark_rule(color=colour, strokeWidth=3).encode(x="low:Q", x2="high:Q")
    dot = trace(row, y="height:Q").mark_point(color=colour, filled=True, size=130, opacity=1)
    return alt.layer(bar, dot, label(at, height, text, colour, dy=-16, fontWeight="bold"))


def picture() -> alt.LayerChart:
    """The whole picture."""
    edges = [{"trace": edge} for edge in (-HALF_WIDTH, HALF_WIDTH)]
    rules = trace(edges).mark_rule(color=NEVER, strokeDash=[4, 4])
    return (
        alt.layer(
            rules,
            hump(0, HALF_WIDTH / 1.96, NEVER),
            hump(1, HALF_WIDTH / 1.96, SAW),
            label(0, 1.28, "models that never saw the rows", NEVER),
            label(1, 1.28, "models trained on them", SAW),
            reading(ORIGINAL, -0.28, "the original: not forgotten", SAW),
            reading(UNLEARNED, -0.7, "after unlearning: forgotten", OURS),
        )
        .properties(width=660, height=300, background="#ffffff", padding=12)
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=13, titleFontSize=13, labelColor=INK, titleColor=INK, titleFontWeight="normal")
    )


if __name__ == "__main__":
    picture().save(Path(__file__).with_name("trace.svg"))
