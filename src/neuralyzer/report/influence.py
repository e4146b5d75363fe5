"""The page and the chart of ``neuralyzer influence``: what a request's rows do to the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from neuralyzer.report import page
from neuralyzer.report.drawing import CHOSEN, INK, MUTED, NARROW, Drawing, Spec, draw, layer, values
from neuralyzer.report.formats import change
from neuralyzer.workspace.atomic import write_bytes

LABELLED = 5  # points with their row's id: more of them would lie on each other
SHOWN = 25  # rows and answers in the page's tables


def write_influence(influence: Mapping[str, Any], name: str, path: Path) -> Path:
    """Write the influence of a request's rows as one HTML file that needs no network and no script.

    Args:
        influence: what ``neuralyzer influence --json`` prints.
        name: of the request, such as the subject.
        path: where the file goes.

    Returns:
        ``path``.

    Raises:
        StorageError: if it cannot be written.
    """  # what is raised comes from the atomic write
    environment = page.environment()
    environment.filters["change"] = change
    shown = {"name": name, "found": influence, "shown": SHOWN, "chart": scatter(influence["rows"])}
    return write_bytes(path, environment.get_template("influence.html.j2").render(shown).encode())


def scatter(rows: list[dict[str, Any]]) -> Drawing:
    """Draw each row by how much the model memorised it and by how much it helps or harms the holdout.

    Args:
        rows: of each ``id``, ``own_loss`` and ``holdout_loss``.

    Returns:
        The drawing.
    """
    points = [{name: row[name] for name in ("id", "own_loss", "holdout_loss")} for row in rows]
    named = sorted(points, key=lambda point: -abs(point["holdout_loss"]))[:LABELLED]
    usual = float(np.median([abs(point["holdout_loss"]) for point in points])) or 1e-12

    def chart(width: int) -> Spec:
        x = alt.X(
            "own_loss:Q",
            title="change of the row's own loss without it (memorised more to the right)",
            scale=alt.Scale(type="sqrt", nice=False),
            axis=alt.Axis(format="~g", tickCount=4 if width == NARROW else 8),
        )
        if width == NARROW:
            x = x.title("change of the row's own loss")
        y = alt.Y(
            "holdout_loss:Q",
            title="change of the holdout's loss without it",
            scale=alt.Scale(type="symlog", constant=usual, nice=False),
            axis=alt.Axis(format="~g", tickCount=5),
        )
        marks = [
            alt.Chart(values([{"at": 0.0}])).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(y=alt.Y("at:Q")),
            alt.Chart(values(points)).mark_point(filled=True, color=CHOSEN, opacity=0.6, size=50).encode(x=x, y=y),
            alt.Chart(values(named)).mark_text(align="right", dx=-7, color=INK).encode(x=x, y=y, text="id:N"),
        ]
        return layer(marks, width=width - 90, height=280)

    largest = " ".join(f"{point['id']}: {point['holdout_loss']:.2g}." for point in named)
    return draw(chart, f"Rows by predicted change of the holdout's loss without them. The largest: {largest}")
