"""LiRA and RMIA in the report: the ROC chart and the tables."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import altair as alt

from neuralyzer.report.drawing import (
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
    side_by_side,
    stacked,
    values,
)
from neuralyzer.report.formats import MISSING, interval, percent, plural

NAMES = {
    "lira-online": "LiRA, online",
    "lira-offline": "LiRA, offline",
    "rmia-online": "RMIA, online",
    "rmia-offline": "RMIA, offline",
}
MODELS = {"original": "Before", "unlearned": "After", "references": "References"}
DRAWN = ("lira-online", "rmia-online")  # the stronger variant of each attack; the table has the others too
LOWEST = 1e-3  # rate at which the axes begin
_COLOURS = {"original": ORIGINAL, "unlearned": UNLEARNED, "references": NEVER_SAW}


def known(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the attacks of a case: those of the verification, else of the audit; None where none was run."""
    for stage in ("verification", "audit"):
        attacks: Mapping[str, Any] | None = (result.get(stage) or {}).get("attacks")
        if attacks:
            return attacks
    return None


def tables(attacks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of attacks, by row and by subject.

    Args:
        attacks: as ``--json`` prints them.

    Returns:
        For each: ``unit``, the false positive ``rates``, and ``lines`` with attack (empty where it is that of the line
        above), model, auc, tpr (one text per rate, or one in all if negatives are too few) and percentile (or None).
    """
    order = sorted(attacks["scores"], key=lambda s: (s["unit"], _place(s["attack"], NAMES), _place(s["model"], MODELS)))
    by_unit = []
    for unit, scores in groupby(order, key=lambda s: str(s["unit"])):
        lines: list[dict[str, Any]] = []
        for score in scores:
            attack = NAMES.get(score["attack"], str(score["attack"]))
            first = not any(line["attack"] == attack for line in lines)
            lines.append(
                {
                    "attack": attack if first else "",
                    "model": MODELS.get(score["model"], str(score["model"])),
                    "auc": _area(score),
                    "tpr": _rates(score["tpr"], score["negatives"]),
                    "percentile": None if score["percentile"] is None else percent(score["percentile"]),
                }
            )
        rates = [f"TPR at {_short(rate['fpr'])} FPR" for rate in order[0]["tpr"]]
        by_unit.append({"unit": unit, "rates": rates, "lines": lines})
    return by_unit


def roc(attacks: Mapping[str, Any]) -> Drawing | None:
    """Draw ROC curves by row, both axes logarithmic.

    Args:
        attacks: as ``--json`` prints them.

    Returns:
        The drawing; None where there is no curve.
    """
    curves = [curve for curve in attacks["curves"] if curve["attack"] in DRAWN and curve["model"] in MODELS]
    shown = [attack for attack in DRAWN if any(curve["attack"] == attack for curve in curves)]
    if not shown:
        return None

    def panel(attack: str, width: int, first: bool) -> Spec:
        scale = alt.Scale(type="log", domain=[LOWEST, 1], nice=False)
        axis = alt.Axis(values=[0.001, 0.01, 0.1, 1], format="~%", grid=True)
        x = alt.X("fpr:Q", scale=scale, axis=axis, title="false positive rate")
        y = alt.Y("tpr:Q", scale=scale, axis=axis, title="true positive rate" if first else None)
        chance = alt.Chart(values([{"fpr": rate, "tpr": rate} for rate in (LOWEST, 1.0)]))
        marks = [chance.mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)]
        for model in reversed(MODELS):
            for curve in curves:
                if (curve["attack"], curve["model"]) == (attack, model):
                    line = alt.Chart(values(_visible(curve["points"]))).mark_line(
                        interpolate="step-after",
                        color=_COLOURS[model],
                        strokeWidth=1.6 if model == "references" else 2.4,
                    )
                    marks.append(line.encode(x=x, y=y))
        title = alt.TitleParams(NAMES[attack], color=INK)
        return layer(marks, width=width, height=min(width, 270), title=title)

    def chart(width: int) -> Spec:
        if width == NARROW:
            return stacked([panel(attack, width - 75, True) for attack in shown], spacing=18)
        each = (width - 100) // 2 if len(shown) > 1 else 360
        return side_by_side([panel(attack, each, attack == shown[0]) for attack in shown], spacing=30)

    areas = [
        f"{NAMES[s['attack']]}, {MODELS[s['model']].lower()}: area {s['auc']:.2f}."
        for s in attacks["scores"]
        if s["unit"] == "row" and s["attack"] in shown and s["model"] in MODELS and s["auc"] is not None
    ]
    return draw(chart, f"ROC curves of attacks on single rows, logarithmic. {' '.join(areas)}")


def _visible(points: Iterable[Sequence[float]]) -> list[dict[str, float]]:
    """Return a curve within the axes; points below their beginning are put on the axis."""
    ordered = sorted((float(fpr), float(tpr)) for fpr, tpr in points)
    start = max((tpr for fpr, tpr in ordered if fpr <= LOWEST), default=0.0)
    kept = [(LOWEST, start), *((fpr, tpr) for fpr, tpr in ordered if fpr > LOWEST)]
    return [{"fpr": fpr, "tpr": max(tpr, LOWEST)} for fpr, tpr in kept]


def _place(name: str, known: Iterable[str]) -> int:
    order = list(known)
    return order.index(name) if name in order else len(order)


def _area(score: Mapping[str, Any]) -> str:
    if score["auc"] is None:
        return MISSING
    text = f"{score['auc']:.2f}"
    return text if score["auc_low"] is None else f"{text} ({score['auc_low']:.2f} to {score['auc_high']:.2f})"


def _rates(rates: Sequence[Mapping[str, Any]], negatives: int) -> list[str]:
    texts = [_rate(rate, negatives) for rate in rates]
    return texts[:1] if all(rate["tpr"] is None for rate in rates) else texts


def _rate(rate: Mapping[str, Any], negatives: int) -> str:
    if rate["tpr"] is None:
        return f"too few: {plural(negatives, 'negative')}"
    text = percent(rate["tpr"])
    return text if rate["low"] is None else f"{text} ({interval(rate['low'], rate['high'])})"


def _short(rate: float) -> str:
    return percent(rate, 0 if rate >= 0.01 else 1)
