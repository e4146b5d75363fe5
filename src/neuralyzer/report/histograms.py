"""The distribution of the models' margins on the forget rows, as histograms one below the other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from neuralyzer.report.drawing import (
    INK,
    NARROW,
    NEVER_SAW,
    ORIGINAL,
    SAW,
    UNLEARNED,
    Drawing,
    Spec,
    draw,
    layer,
    stacked,
    values,
)


def margins(readings: Mapping[str, Sequence[float]]) -> Drawing | None:
    """Draw the distribution of the models' margins on the forget rows.

    Args:
        readings: margins of ``original``, ``unlearned``, and, pooled over the references, ``never_saw`` and ``saw``;
            any may be missing or empty.

    Returns:
        The drawing; None where there is nothing to draw.
    """
    panels = [
        ("original", "Before", ORIGINAL),
        ("unlearned", "After", UNLEARNED),
        ("never_saw", "References that never saw the rows", NEVER_SAW),
    ]
    finite = {name: np.asarray(read, float)[np.isfinite(read)] for name, read in readings.items() if len(read)}
    finite = {name: read for name, read in finite.items() if len(read)}
    panels = [panel for panel in panels if panel[0] in finite]
    if not panels:
        return None
    everything = np.concatenate(list(finite.values()))
    low, high = np.quantile(everything, [0.005, 0.995])
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    fewest = min(len(finite[name]) for name, _, _ in panels)
    edges = np.linspace(low, high, 1 + max(8, min(28, int(2.5 * math.sqrt(fewest)))))
    shares = {name: _shares(read, edges) for name, read in finite.items()}
    tallest = max(bar["share"] for bars in shares.values() for bar in bars)

    def panel(name: str, title: str, colour: str, last: bool, width: int) -> Spec:
        x = alt.X(
            "low:Q",
            scale=alt.Scale(domain=[float(low), float(high)], nice=False, zero=False),
            title="margin on the forget rows (higher: the model is surer of the right answer)" if last else None,
            axis=alt.Axis(labels=last, ticks=last, tickCount=5 if width == NARROW else 9, grid=True),
        )
        if last and width == NARROW:
            x = x.title("margin on the forget rows")
        y = alt.Y("share:Q", scale=alt.Scale(domain=[0, tallest * 1.05]), axis=None)
        marks = [
            alt.Chart(values(shares[name]))
            .mark_bar(color=colour, opacity=0.75)
            .encode(x=x, x2="high:Q", y=y, y2=alt.datum(0))
        ]
        outlines = () if name == "never_saw" else (("saw", SAW, [4, 3]), ("never_saw", INK, [1, 0]))
        for other, line, dash in outlines:
            if other in shares:
                steps = [*shares[other], {"low": float(high), "share": shares[other][-1]["share"]}]
                outline = alt.Chart(values(steps)).mark_line(
                    interpolate="step-after", color=line, strokeWidth=1.6, strokeDash=dash
                )
                marks.append(outline.encode(x=x, y=y))
        return layer(marks, width=width - 25, height=96, title=title)

    def chart(width: int) -> Spec:
        drawn = [panel(*entry, entry is panels[-1], width) for entry in panels]
        return stacked(drawn, spacing=14)

    medians = " ".join(f"{title}: median {np.median(finite[name]):.2f}." for name, title, _ in panels)
    return draw(chart, f"Histograms of the margins on the forget rows. {medians}")


def _shares(read: "np.ndarray[Any, Any]", edges: "np.ndarray[Any, Any]") -> list[dict[str, float]]:
    """Return the share of the margins in each bin; those outside count in the outermost bins.

    Returns:
        One record per bin: low, high, share.
    """
    counts, _ = np.histogram(np.clip(read, edges[0], edges[-1]), edges)
    return [
        {"low": float(low), "high": float(high), "share": float(count) / len(read)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
