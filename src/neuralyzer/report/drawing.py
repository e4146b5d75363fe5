"""Turns an Altair chart into SVG that can stand in a page: its look, its two widths, no references."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from neuralyzer.workspace import digests

INK, MUTED, LINE, BAND = "#1d2733", "#566273", "#d9dee5", "#dde2e9"
ORIGINAL, UNLEARNED, NEVER_SAW, SAW, CHOSEN = "#c0392b", "#1f8a5b", "#66727f", "#d98880", "#1d4f91"
WIDE, NARROW = 720, 330  # pixels: a column on a desktop, and a phone held upright

_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Drawing:
    """A chart drawn twice, so that its text is as large on a phone as on a desktop; the page shows one of them.

    Attributes:
        wide: SVG for desktops and paper.
        narrow: SVG for phones.
        says: what it shows, for people who don't see it.
    """

    wide: str
    narrow: str
    says: str


def draw(chart: Callable[[int], Any], says: str) -> Drawing:
    """Draw a chart in both widths.

    Args:
        chart: an Altair chart of so many pixels.
        says: what it shows.

    Returns:
        The drawing.
    """
    return Drawing(_svg(chart(WIDE)), _svg(chart(NARROW)), says)


def values(records: Sequence[Mapping[str, Any]]) -> alt.Data:
    """Return records as a chart's data."""
    return alt.Data(values=[dict(record) for record in records])


def _svg(chart: alt.TopLevelMixin) -> str:
    styled = (
        chart
        .configure(font=_FONT, background="transparent", aria=False)  # the figure around it is what is read aloud
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=MUTED, titleColor=MUTED, gridColor="#eef1f4", domain=False, tickColor=LINE,
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=220, titlePadding=10,
        )
        .configure_title(color=INK, fontSize=13, fontWeight="bold", anchor="start", offset=6)
    )  # fmt: skip
    svg = str(vl_convert.vegalite_to_svg(styled.to_dict()))
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version|class)="[^"]*"', "", svg)  # inside a page name spaces are implied
    # Vega numbers its clip paths on and on; several charts in a page must not share names, and equal charts be equal.
    ids = {name: str(place) for place, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))}
    svg = re.sub(r'\bid="([^"]+)"', lambda found: f'id="@{ids[found[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#@{ids[found[1]]})", svg)
    own = f"c{digests.of_bytes(svg.encode())[:10]}-"
    svg = svg.replace('id="@', f'id="{own}').replace("url(#@", f"url(#{own}")
    return re.sub(r"^<svg ", '<svg aria-hidden="true" ', svg, count=1)
