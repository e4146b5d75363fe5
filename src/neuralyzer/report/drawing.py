"""Turns an Altair chart into SVG that can stand in a page: its look, its two widths, no references."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

INK, MUTED, LINE, BAND = "#1d2733", "#566273", "#d9dee5", "#dde2e9"
ORIGINAL, UNLEARNED, NEVER_SAW, SAW, CHOSEN = "#c0392b", "#1f8a5b", "#66727f", "#d98880", "#1d4f91"
WIDE, NARROW = 720, 330  # pixels: a column on a desktop, and a phone held upright

_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
_numbers = itertools.count(1)


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
    # Inside a page the name spaces are implied, and clip paths of several charts must not share names.
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version|class)="[^"]*"', "", svg)
    prefix = f"chart{next(_numbers)}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}", svg)
    return re.sub(r"^<svg ", '<svg aria-hidden="true" ', svg, count=1)
