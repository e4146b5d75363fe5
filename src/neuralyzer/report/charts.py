"""The report's charts: trace by family, options, margins."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from neuralyzer.report.drawing import BAND, CHOSEN, INK, LINE, MUTED, NARROW, NEVER_SAW, ORIGINAL, SAW, UNLEARNED
from neuralyzer.report.drawing import Drawing, draw
from neuralyzer.report.wording import percent, seconds

FURTHEST = (-2.0, 3.0)  # traces that are still drawn; beyond, an interval says only that nothing can be told
LABEL_HEIGHT, LETTER_WIDTH = 15, 6.6  # pixels, to keep the options' names apart


def traces(families: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """Trace by family, before and after, against what models read that never saw the rows.

    Args:
        families: of each ``label``, ``original`` and ``unlearned`` (each a mapping with trace, low and high, or None),
            ``null`` (half the width of the null band, or None), ``retrained`` (traces).

    Returns:
        The drawing; None where nothing was measured.
    """
    before = [_reading(f["label"], "original", f["original"]) for f in families if _drawable(f["original"])]
    after = [_reading(f["label"], "unlearned", f["unlearned"]) for f in families if _drawable(f["unlearned"])]
    if not before and not after:
        return None
    retrained = [
        {"family": f["label"], "lane": "retrained", "trace": trace} for f in families for trace in f["retrained"]
    ]
    bands = [{"family": f["label"], "low": -f["null"], "high": f["null"]} for f in families if f["null"] is not None]
    ends = [reading[end] for reading in before + after for end in ("low", "high", "trace")]
    ends += [point["trace"] for point in retrained] + [band[end] for band in bands for end in ("low", "high")]
    domain = [max(FURTHEST[0], min(-0.25, *ends) - 0.05), min(FURTHEST[1], max(1.1, *ends) + 0.05)]
    lanes = ["original", "unlearned"] + (["retrained"] if retrained else [])
    rows = [f["label"] for f in families]

    def chart(width: int) -> Any:
        title = "residual trace"
        if width != NARROW:
            title += " (0 %: as if the rows had never been seen, 100 %: as trained on them)"
        y = alt.Y("family:N", sort=rows, title=None, axis=alt.Axis(ticks=False, labelColor=INK, labelPadding=8))
        axis = alt.Axis(format=".0%", tickCount=5 if width == NARROW else 9)
        x = alt.X("trace:Q", title=title, scale=alt.Scale(domain=domain, nice=False, zero=False), axis=axis)
        lane = alt.YOffset("lane:N", sort=lanes, scale=alt.Scale(domain=lanes, paddingOuter=0.35))
        marks = [
            alt
            .Chart(_data(bands))
            .mark_bar(color=BAND, height=alt.RelativeBandSize(0.86), clip=True)
            .encode(x=alt.X("low:Q", title=title), x2="high:Q", y=y),
            alt.Chart(_data([{"at": 0.0}, {"at": 1.0}])).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="at:Q"),
        ]
        for readings, colour, shape in ((before, ORIGINAL, "circle"), (after, UNLEARNED, "diamond")):
            base = alt.Chart(_data(readings))
            marks.append(
                base
                .mark_rule(color=colour, strokeWidth=2.5, clip=True)
                .encode(x=alt.X("low:Q", title=title), x2="high:Q", y=y, yOffset=lane)
            )
            marks.append(
                base
                .mark_point(color=colour, filled=True, opacity=1, shape=shape, size=95, clip=True)
                .encode(x=x, y=y, yOffset=lane)
            )
        if retrained:
            marks.append(
                alt
                .Chart(_data(retrained))
                .mark_point(color=NEVER_SAW, size=26, strokeWidth=1.2, opacity=0.9, clip=True)
                .encode(x=x, y=y, yOffset=lane)
            )
        return _sized(alt.layer(*marks), width, height=alt.Step(58 if retrained else 48, **{"for": "position"}))

    return draw(
        chart,
        "Residual trace by family with intervals. "
        + " ".join(
            f"{f['label']}: original {percent((f['original'] or {}).get('trace'))}, "
            f"unlearned {percent((f['unlearned'] or {}).get('trace'))}."
            for f in families
        ),
    )


def options(planned: Sequence[Mapping[str, Any]], budget: float | None) -> Drawing | None:
    """What each option would take and leave.

    Args:
        planned: the plan's options; those without predicted seconds or trace are not drawn.
        budget: seconds allowed; None for as long as it takes.

    Returns:
        The drawing; None where there is nothing to draw.
    """
    points = [
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
    spans = [point["seconds"] for point in points] + ([budget] if budget else [])
    across = (min(spans) / 1.6, max(spans) * 1.6)
    levels = [point["trace"] for point in points]
    up = (min(0.0, *levels) - 0.12, max(1.0, *levels) + 0.12)
    colours = alt.Scale(domain=["chosen", "feasible", "infeasible"], range=[CHOSEN, INK, "#a3acb8"])
    sizes = alt.Scale(domain=["chosen", "feasible", "infeasible"], range=[170, 80, 60])

    def chart(width: int) -> Any:
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
        named = _apart(points, across, up, width - 70, height)
        marks = []
        if budget:
            rule = alt.Chart(_data([{"seconds": budget, "text": f"budget {seconds(budget)}"}]))
            marks.append(rule.mark_rule(color=ORIGINAL, strokeDash=[5, 4]).encode(x=x))
            left = math.log(budget / across[0]) < math.log(across[1] / across[0]) / 2
            marks.append(
                rule.mark_text(
                    color=ORIGINAL, align="left" if left else "right", dx=5 if left else -5, baseline="top", fontSize=12
                ).encode(x=x, y=alt.value(0), text="text:N")
            )
        marks.append(
            alt
            .Chart(_data(points))
            .mark_point(filled=True, opacity=1)
            .encode(x=x, y=y, color=colour, size=alt.Size("kind:N", scale=sizes, legend=None))
        )
        for align, offset in (("left", 11), ("right", -11)):
            marks += [
                alt
                .Chart(_data([point for point in named if point["align"] == align and (point["kind"] == "chosen") == bold]))
                .mark_text(align=align, dx=offset, fontSize=12, fontWeight="bold" if bold else "normal")
                .encode(x=x, y=alt.Y("label:Q", title="predicted trace"), text="method:N", color=colour)
                for bold in (False, True)
            ]
        return _sized(alt.layer(*marks), width, height)

    return draw(
        chart,
        "Options by predicted seconds and predicted trace. "
        + " ".join(f"{p['method']} ({p['kind']}): {seconds(p['seconds'])}, {percent(p['trace'])}." for p in points),
    )


def margins(readings: Mapping[str, Sequence[float]]) -> Drawing | None:
    """How the models' margins on the forget rows are spread.

    Args:
        readings: margins of ``original``, ``unlearned``, and, pooled over the references, ``never_saw`` and ``saw``;
            any may be missing or empty.

    Returns:
        The drawing; None where there is nothing to draw.
    """
    panels = [
        ("original", "Original", ORIGINAL),
        ("unlearned", "Unlearned", UNLEARNED),
        ("never_saw", "References that never saw the rows", NEVER_SAW),
    ]
    finite = {name: np.asarray(values, float)[np.isfinite(values)] for name, values in readings.items() if len(values)}
    finite = {name: values for name, values in finite.items() if len(values)}
    panels = [panel for panel in panels if panel[0] in finite]
    if not panels:
        return None
    everything = np.concatenate(list(finite.values()))
    low, high = np.quantile(everything, [0.005, 0.995])
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    fewest = min(len(finite[name]) for name, _, _ in panels)
    edges = np.linspace(low, high, 1 + max(8, min(28, int(2.5 * math.sqrt(fewest)))))
    shares = {name: _shares(values, edges) for name, values in finite.items()}
    tallest = max(bar["share"] for name, _, _ in panels for bar in shares[name])
    tallest = max([tallest] + [bar["share"] for name in ("saw",) for bar in shares.get(name, [])])

    def panel(name: str, title: str, colour: str, last: bool, width: int) -> Any:
        x = alt.X(
            "low:Q",
            scale=alt.Scale(domain=[float(low), float(high)], nice=False, zero=False),
            title="margin on the forget rows (higher: the model is surer of the right answer)" if last else None,
            axis=alt.Axis(labels=last, ticks=last, tickCount=5 if width == NARROW else 9, grid=True),
        )
        if last and width == NARROW:
            x = x.title("margin on the forget rows")
        y = alt.Y("share:Q", scale=alt.Scale(domain=[0, tallest * 1.05]), axis=None)
        marks = [alt.Chart(_data(shares[name])).mark_bar(color=colour, opacity=0.75).encode(x=x, x2="high:Q", y=y)]
        outlines = () if name == "never_saw" else (("saw", SAW, [4, 3]), ("never_saw", INK, [1, 0]))
        for other, line, dash in outlines:
            if other in shares:
                steps = [*shares[other], {"low": float(high), "share": shares[other][-1]["share"]}]
                outline = alt.Chart(_data(steps)).mark_line(
                    interpolate="step-after", color=line, strokeWidth=1.6, strokeDash=dash
                )
                marks.append(outline.encode(x=x, y=y))
        return _sized(alt.layer(*marks), width, 96).properties(title=title)

    def chart(width: int) -> Any:
        drawn = [panel(*entry, entry is panels[-1], width) for entry in panels]
        return alt.vconcat(*drawn, spacing=14)

    medians = " ".join(f"{title}: median {np.median(finite[name]):.2f}." for name, title, _ in panels)
    return draw(chart, f"Histograms of the margins on the forget rows. {medians}")


def _data(values: Sequence[Mapping[str, Any]]) -> alt.Data:
    return alt.Data(values=[dict(value) for value in values])


def _sized(chart: Any, width: int, height: Any) -> Any:
    # "fit" makes width the whole picture, axis labels included, so that both widths come out as wanted.
    return chart.properties(width=width, height=height)


def _drawable(reading: Mapping[str, Any] | None) -> bool:
    return reading is not None and reading["trace"] is not None


def _reading(label: str, lane: str, reading: Mapping[str, Any]) -> dict[str, Any]:
    trace = reading["trace"]
    low, high = (trace if reading[end] is None else reading[end] for end in ("low", "high"))
    return {"family": label, "lane": lane, "trace": trace, "low": low, "high": high}


def _shares(values: "np.ndarray[Any, Any]", edges: "np.ndarray[Any, Any]") -> list[dict[str, float]]:
    """Share of the values in each bin; what lies outside goes to the bin at that end.

    Returns:
        A record a bin: low, high, share.
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [
        {"low": float(low), "high": float(high), "share": float(count) / len(values)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _apart(
    points: Sequence[Mapping[str, Any]], across: tuple[float, float], up: tuple[float, float], width: int, height: int
) -> list[dict[str, Any]]:
    """Place the options' names beside their points so that none lies on another.

    Returns:
        The points, each with ``align`` and the trace at which its name stands, ``label``.
    """
    placed: list[tuple[float, float, float]] = []  # left, right, height above the foot; pixels
    named = []
    for point in sorted(points, key=lambda p: (p["trace"], p["seconds"])):
        at = width * math.log(point["seconds"] / across[0]) / math.log(across[1] / across[0])
        length = 11 + LETTER_WIDTH * len(point["method"])
        align = "left" if at + length <= width else "right"
        left, right = (at, at + length) if align == "left" else (at - length, at)
        foot = height * (point["trace"] - up[0]) / (up[1] - up[0])
        while any(left < r and l < right and abs(foot - f) < LABEL_HEIGHT for l, r, f in placed):
            foot += 3
        placed.append((left, right, foot))
        named.append({**point, "align": align, "label": up[0] + foot / height * (up[1] - up[0])})
    return named
