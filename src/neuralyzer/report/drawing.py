"""The drawing of Altair charts as SVG within a page: style, two widths, no references to other files."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert
from altair.utils import schemapi

from neuralyzer.workspace import digests

INK, MUTED, LINE, BAND = "#1d2733", "#566273", "#d9dee5", "#dde2e9"
ORIGINAL, UNLEARNED, NEVER_SAW, SAW, CHOSEN = "#c0392b", "#1f8a5b", "#66727f", "#d98880", "#1d4f91"
WIDE, NARROW = 720, 330  # pixels: a column on a desktop, and a phone held upright

_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


Spec = dict[str, Any]  # of Vega-Lite


@dataclass(frozen=True)
class Drawing:
    """A chart drawn in two widths, so that text is as large on a phone as on a desktop; the page shows one.

    Attributes:
        wide: SVG for desktops and paper.
        narrow: SVG for phones.
        says: description of the chart, for screen readers.
    """

    wide: str
    narrow: str
    says: str


def draw(chart: Callable[[int], Spec], says: str) -> Drawing:
    """Draw a chart in both widths.

    Args:
        chart: returns the specification for a width in pixels.
        says: description of the chart.

    Returns:
        The drawing.
    """
    # Altair checks every part of a chart against its schema, which takes time. The charts here are fixed, and a test
    # draws each with the checks.
    with schemapi.debug_mode(False):
        return Drawing(_svg(chart(WIDE)), _svg(chart(NARROW)), says)


def values(records: Sequence[Mapping[str, Any]]) -> alt.Data:
    """Return records as a chart's data."""
    return alt.Data(values=[dict(record) for record in records])


# Altair copies every part of every chart whenever charts are joined, which takes time. Here each mark is made by
# Altair, and marks are joined as Vega-Lite has them, in lists.


def layer(marks: Sequence[alt.Chart], **properties: Any) -> Spec:
    """Return charts drawn over each other.

    Args:
        marks: from the lowest to the topmost.
        properties: of the whole, such as ``width``.

    Returns:
        The specification.
    """
    converted = {
        name: value.to_dict(validate=False) if hasattr(value, "to_dict") else value
        for name, value in properties.items()
    }
    return {"layer": [_plain(mark.to_dict(validate=False)) for mark in marks], **converted}


def stacked(panels: Sequence[Spec], spacing: int) -> Spec:
    """Return panels one below the other."""
    return {"vconcat": list(panels), "spacing": spacing}


def side_by_side(panels: Sequence[Spec], spacing: int) -> Spec:
    """Return panels one beside the other."""
    return {"hconcat": list(panels), "spacing": spacing}


def _plain(chart: Spec) -> Spec:
    """Return a chart without the properties of the outermost one, and with its records inline."""
    sets = chart.pop("datasets", {})
    data = chart.get("data", {})
    if "name" in data:
        chart["data"] = {"values": sets[data["name"]]}
    return {name: value for name, value in chart.items() if name not in ("$schema", "config")}


def _svg(chart: Spec) -> str:
    axis = {
        "labelColor": MUTED, "titleColor": MUTED, "gridColor": "#eef1f4", "domain": False, "tickColor": LINE,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 220, "titlePadding": 10,
    }  # fmt: skip
    config = {
        "font": _FONT,
        "background": "transparent",
        "aria": False,  # screen readers read the figure around it
        "view": {"continuousWidth": 300, "continuousHeight": 300, "stroke": None},
        "axis": axis,
        "title": {"color": INK, "fontSize": 13, "fontWeight": "bold", "anchor": "start", "offset": 6},
    }
    svg = str(vl_convert.vegalite_to_svg({"$schema": alt.SCHEMA_URL, "config": config} | chart))
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version|class)="[^"]*"', "", svg)  # within HTML, name spaces are implied
    # Vega numbers clip paths through all charts that it draws. Charts in a page must not share ids, and equal charts
    # must have equal ones.
    ids = {name: str(place) for place, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))}
    svg = re.sub(r'\bid="([^"]+)"', lambda match: f'id="@{ids[match[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#@{ids[match[1]]})", svg)
    prefix = f"c{digests.of_bytes(svg.encode())[:10]}-"
    svg = svg.replace('id="@', f'id="{prefix}').replace("url(#@", f"url(#{prefix}")
    return re.sub(r"^<svg ", '<svg aria-hidden="true" ', svg, count=1)
