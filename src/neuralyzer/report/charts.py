"""Two charts of the report: trace by family, and the plan's options."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from neuralyzer.report.drawing import (
    BAND,
    CHOSEN,
    INK,
    MUTED,
    NARROW,
    NEVER_SAW,
    ORIGINAL,
    UNLEARNED,
    Drawing,
    Spec,
    draw,
    layer,
    values,
)
from neuralyzer.report.formats import percent, seconds

FURTHEST = (-2.0, 3.0)  # smallest and largest trace on the axis; an interval that reaches farther is cut off
LABEL_HEIGHT, LETTER_WIDTH = 15, 6.6  # pixels, to keep the options' names apart


def traces(families: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """Draw the trace by family, before and after, with the range of models that never saw the rows.

    Args:
        families: each with ``label``, ``original`` and ``unlearned`` (each with trace, low and high),
            ``null`` (half the width of the null band, or None), ``retrained`` (traces).

    Returns:
        The drawing; None where nothing was measured.
    """
    before = [_reading(f["label"], "original", f["original"]) for f in families if f["original"]["trace"] is not None]
    after = [_reading(f["label"], "unlearned", f["unlearned"]) for f in families if f["unlearned"]["trace"] is not None]
    if not before and not after:
        return None
    retrained = [{"family": f["label"], "lane": "retrained", "trace": t} for f in families for t in f["retrained"]]
    bands = [{"family": f["label"], "low": -f["null"], "high": f["null"]} for f in families if f["null"] is not None]
    ends = [reading[end] for reading in before + after for end in ("low", "high", "trace")]
    ends += [point["trace"] for point in retrained] + [band[end] for band in bands for end in ("low", "high")]
    domain = [max(FURTHEST[0], min(-0.25, *ends) - 0.05), min(FURTHEST[1], max(1.1, *ends) + 0.05)]
    lanes = ["original", "unlearned"] + (["retrained"] if retrained else [])
    rows = [f["label"] for f in families]
    beside = 18 + int(LETTER_WIDTH * 1.2 * max(map(len, rows)))  # room for the names in whatever font the reader has

    label_axis = alt.Axis(ticks=False, labelColor=INK, labelPadding=8, minExtent=beside)
    y = alt.Y("family:N", sort=rows, title=None, axis=label_axis)
    lane = alt.YOffset("lane:N", sort=lanes, scale=alt.Scale(domain=lanes, paddingOuter=0.35))

    def chart(width: int) -> Spec:
        title = "residual trace"
        if width != NARROW:
            title += " (0 %: never saw the rows, 100 %: trained on them)"
        axis = alt.Axis(format=".0%", tickCount=5 if width == NARROW else 9, labelFlush=False)
        x = alt.X("trace:Q", title=title, scale=alt.Scale(domain=domain, nice=False, zero=False), axis=axis)
        low = alt.X("low:Q", title=title)
        marks = [
            alt.Chart(values(bands))
            .mark_bar(color=BAND, height=alt.RelativeBandSize(0.86), clip=True)
            .encode(x=low, x2="high:Q", y=y),
            alt.Chart(values([{"at": 0.0}, {"at": 1.0}])).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="at:Q"),
        ]
        for readings, colour, shape in ((before, ORIGINAL, "circle"), (after, UNLEARNED, "diamond")):
            base = alt.Chart(values(readings))
            interval = base.mark_rule(color=colour, strokeWidth=2.5, clip=True)
            point = base.mark_point(color=colour, filled=True, opacity=1, shape=shape, size=95, clip=True)
            marks.append(interval.encode(x=low, x2="high:Q", y=y, yOffset=lane))
            marks.append(point.encode(x=x, y=y, yOffset=lane))
        if retrained:
            marks.append(
                alt.Chart(values(retrained))
                .mark_point(color=NEVER_SAW, size=26, strokeWidth=1.2, opacity=0.9, clip=True)
                .encode(x=x, y=y, yOffset=lane)
            )
        step = alt.Step(58 if retrained else 48, **{"for": "position"})
        return layer(marks, width=width - beside - 25, height=step)

    described = " ".join(
        f"{f['label']}: before {percent(f['original']['trace'])}, after {percent(f['unlearned']['trace'])}."
        for f in families
    )
    return draw(chart, f"Residual trace by family with intervals. {described}")


def options(planned: Sequence[Mapping[str, Any]], budget: float | None) -> Drawing | None:
    """Draw the options by predicted seconds and trace.

    Args:
        planned: the plan's options; those without predicted seconds or trace are not drawn.
        budget: seconds allowed; None without a limit.

    Returns:
        The drawing; None where there is nothing to draw.
    """
    points: list[dict[str, Any]] = [
        {
            "method": str(option["method"]),
            "seconds": float(option["seconds"]),
            "trace": float(option["trace"]),
            "kind": "chosen" if option["chosen"] else "feasible" if option["feasible"] else "infeasible",
        }
        for option in planned
        if option["seconds"] is not None and option["seconds"] > 0 and option["trace"] is not None
    ]
    if not points:
        return None
    # Of infeasible options only the Pareto front gets labels: dozens of grey labels would hide the others.
    labelled = [point for point in points if point["kind"] != "infeasible"]
    front = _pareto(labelled)
    labelled += [point for point in _pareto(points) if point not in labelled]
    spans = [point["seconds"] for point in points] + ([budget] if budget else [])
    across = (min(spans) / 1.6, max(spans) * 1.6)
    levels = [point["trace"] for point in points]
    up = (min(0.0, *levels) - 0.12, max(1.0, *levels) + 0.12)
    colours = alt.Scale(domain=["chosen", "feasible", "infeasible"], range=[CHOSEN, INK, "#a3acb8"])
    sizes = alt.Scale(domain=["chosen", "feasible", "infeasible"], range=[170, 80, 60])

    def chart(width: int) -> Spec:
        height = 250
        x = alt.X(
            "seconds:Q",
            title="predicted seconds (logarithmic)",
            scale=alt.Scale(type="log", domain=list(across), nice=False),
            axis=alt.Axis(format="~g", tickCount=4 if width == NARROW else 8, labelOverlap=True),
        )
        y = alt.Y(
            "trace:Q",
            title="predicted trace",
            scale=alt.Scale(domain=list(up), nice=False),
            axis=alt.Axis(format=".0%", tickCount=5),
        )
        colour = alt.Color("kind:N", scale=colours, legend=None)
        named = _place_labels(labelled, across, up, width - 70, height)
        marks = []
        if budget:
            rule = alt.Chart(values([{"seconds": budget, "text": f"budget {seconds(budget)}"}]))
            marks.append(rule.mark_rule(color=ORIGINAL, strokeDash=[5, 4]).encode(x=x))
            left = math.log(budget / across[0]) < math.log(across[1] / across[0]) / 2
            marks.append(
                rule.mark_text(
                    color=ORIGINAL, align="left" if left else "right", dx=5 if left else -5, baseline="top", fontSize=12
                ).encode(x=x, y=alt.value(0), text="text:N")
            )
        if len(front) > 1:
            marks.append(
                alt.Chart(values(front))
                .mark_line(color=MUTED, strokeWidth=1.5, interpolate="step-after")
                .encode(x=x, y=y, order=alt.Order("seconds:Q"))
            )
        marks.append(
            alt.Chart(values(points))
            .mark_point(filled=True, opacity=1)
            .encode(x=x, y=y, color=colour, size=alt.Size("kind:N", scale=sizes, legend=None))
        )
        for align, offset in (("left", 11), ("right", -11)):
            marks += [
                alt.Chart(
                    values(
                        [point for point in named if point["align"] == align and (point["kind"] == "chosen") == bold]
                    )
                )
                .mark_text(align=align, dx=offset, fontSize=12, fontWeight="bold" if bold else "normal")
                .encode(x=x, y=alt.Y("label:Q", title="predicted trace"), text="method:N", color=colour)
                for bold in (False, True)
            ]
        return layer(marks, width=width - 70, height=height)

    return draw(
        chart,
        "Options by predicted seconds and predicted trace. "
        + " ".join(f"{p['method']} ({p['kind']}): {seconds(p['seconds'])}, {percent(p['trace'])}." for p in points),
    )


def _pareto(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the points that no other beats in both seconds and trace, by rising seconds."""
    front: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda p: (p["seconds"], p["trace"])):
        if not front or point["trace"] < front[-1]["trace"]:
            front.append(dict(point))
    return front


def _reading(label: str, lane: str, reading: Mapping[str, Any]) -> dict[str, Any]:
    trace = reading["trace"]
    low, high = (trace if reading[end] is None else reading[end] for end in ("low", "high"))
    return {"family": label, "lane": lane, "trace": trace, "low": low, "high": high}


def _place_labels(
    points: Sequence[Mapping[str, Any]], across: tuple[float, float], up: tuple[float, float], width: int, height: int
) -> list[dict[str, Any]]:
    """Place the options' labels beside their points so that none overlaps another.

    Returns:
        The points, each with ``align`` and the height of its label as a trace, ``label``.
    """
    placed: list[tuple[float, float, float]] = []  # left, right, height above the foot; pixels
    named = []
    for point in sorted(points, key=lambda p: (p["trace"], p["seconds"])):
        place = width * math.log(point["seconds"] / across[0]) / math.log(across[1] / across[0])
        length = 11 + LETTER_WIDTH * len(point["method"])
        align = "left" if place + length <= width else "right"
        left, right = (place, place + length) if align == "left" else (place - length, place)
        foot = height * (point["trace"] - up[0]) / (up[1] - up[0])
        while any(left < end and start < right and abs(foot - at) < LABEL_HEIGHT for start, end, at in placed):
            foot += 3
        placed.append((left, right, foot))
        named.append({**point, "align": align, "label": up[0] + foot / height * (up[1] - up[0])})
    return named
