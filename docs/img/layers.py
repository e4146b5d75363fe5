"""Draws the layers for ``docs/architecture.md``: ``python docs/img/layers.py`` writes ``layers.svg`` beside it.

Layers are those that ``pyproject.toml`` holds the code to, and what each is for is its package's first line.
"""

import ast
import tomllib
from pathlib import Path
from textwrap import shorten
from typing import Any

import altair as alt

ROOT = Path(__file__).resolve().parents[2]
INK, BOX, PALE = "#333333", "#3d5a98", "#f4f6f8"
CASE = {"cases", "verification", "planning", "methods", "unlearning", "trace", "references", "registry"}  # a case's way


def layers() -> list[dict[str, Any]]:
    """The folders from the top down, each with what it is for."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [name.removeprefix("neuralyzer.") for name in settings["tool"]["importlinter"]["contracts"][0]["layers"]]
    found = []
    for place, name in enumerate(name for name in names if "|" not in name):
        text = (ROOT / "src" / "neuralyzer" / name / "__init__.py").read_text()
        first = (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
        found.append(
            {"folder": name, "what": shorten(first.replace("`", ""), 130), "place": place, "case": name in CASE}
        )
    return found


def picture() -> alt.LayerChart:
    """A box a folder, those that a case passes through darker; each imports only what stands below it."""
    rows = layers()
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("place:O", axis=None))
    box = base.mark_rect(height=22, cornerRadius=3).encode(
        x=alt.value(0), x2=alt.value(110),
        color=alt.condition("datum.case", alt.value(BOX), alt.value("#b7c4d8")),
    )  # fmt: skip
    name = base.mark_text(align="left", dx=8, fontSize=12, fontWeight="bold").encode(
        x=alt.value(0), text="folder:N", color=alt.condition("datum.case", alt.value("white"), alt.value(INK))
    )
    what = base.mark_text(align="left", fontSize=12, color=INK).encode(x=alt.value(122), text="what:N")
    chart = alt.layer(box, name, what).properties(width=880, height=26 * len(rows), background=PALE)
    return chart.configure_view(stroke=None)


if __name__ == "__main__":
    picture().save(Path(__file__).with_name("layers.svg"))
