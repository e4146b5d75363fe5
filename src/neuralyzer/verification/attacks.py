"""LiRA and RMIA beside the trace: on the references themselves and on the model under test; they decide nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from neuralyzer.attacks.evaluation import AttackResult, on_members, on_request, readable
from neuralyzer.attacks.shadows import SIGNAL
from neuralyzer.models.classification import Classification
from neuralyzer.trace.estimator import Estimates, RequestEstimator

NAMES = {
    "lira-online": "LiRA, online",
    "lira-offline": "LiRA, offline",
    "rmia-online": "RMIA, online",
    "rmia-offline": "RMIA, offline",
}
REFERENCES = "references"  # in place of a model's name, for the attacks on all members of a split


@dataclass(frozen=True)
class Attacks:
    """The results of membership inference on one split of the references.

    Attributes:
        members: of the split, which are the attacker's shadow models.
        scores: one row for each attack, unit and model: attack, unit (row or subject), model (references, original,
            unlearned), positives, negatives, auc, auc_low, auc_high, tpr (by false positive rate: fpr, tpr, low, high;
            None where the negatives are too few), score and percentile (of the requested subjects among members that
            never saw them).
        curves: one for each attack by row and model: attack, model, points ``[fpr, tpr]``.
    """

    members: int
    scores: tuple[dict[str, Any], ...]
    curves: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the attacks as plain values."""
        return {"members": self.members, "scores": list(self.scores), "curves": list(self.curves)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Attacks":
        """Return the attacks that ``to_dict`` wrote down."""
        return cls(values["members"], tuple(values["scores"]), tuple(values["curves"]))

    def __rich__(self) -> RenderableType:
        return _attacks_view(self)


def attacks(estimator: RequestEstimator, read: Mapping[str, Estimates]) -> Attacks | None:
    """Attack the members of an estimator's split, and the models that the estimator read.

    Args:
        estimator: of the request.
        read: its estimates by model: original, unlearned.

    Returns:
        The attacks; None where no requested row can be attacked. RMIA needs probabilities, so for regression there is
        LiRA alone.
    """
    split = estimator.split.values
    if not readable(split) or not all(SIGNAL in estimates.readings for estimates in read.values()):
        return None
    classes = isinstance(estimator.split.evaluator.context.objective, Classification)
    by_model: dict[str, tuple[AttackResult, ...]] = {}
    for model, estimates in read.items():
        margin = estimates.readings[SIGNAL]
        by_model[model] = on_request(split, estimator.parts, margin.rows, margin.holdout[0], classes)
    if not any(by_model.values()):
        return None
    by_model = {REFERENCES: on_members(split, classes), **by_model}
    results = [(model, result) for model, of_model in by_model.items() for result in of_model]
    results.sort(key=lambda pair: (list(NAMES).index(pair[1].attack), pair[1].unit))
    return Attacks(
        split.members,
        tuple(_score_row(model, result) for model, result in results),
        tuple(
            {"attack": result.attack, "model": model, "points": [list(point) for point in result.roc.curve]}
            for model, result in results
            if result.unit == "row"
        ),
    )


def _score_row(model: str, result: AttackResult) -> dict[str, Any]:
    return {
        "attack": result.attack, "unit": result.unit, "model": model, **result.roc.to_dict(),
        "score": result.score, "percentile": result.percentile,
    }  # fmt: skip


def _attacks_view(attacks: Attacks) -> RenderableType:
    """Return a table of the online attacks by row, with the requested subjects' percentile.

    Args:
        attacks: what to show.

    Returns:
        What Rich prints.
    """
    table = RichTable(title="known attacks, by row of the request", title_justify="left", box=None, pad_edge=False)
    for name in ("attack", "model", "AUC", "TPR at 1 % FPR", "at 0.1 %", "subject's percentile"):
        table.add_column(name, justify="left" if name in ("attack", "model") else "right")
    percentiles = {(s["attack"], s["model"]): s["percentile"] for s in attacks.scores if s["unit"] == "subject"}
    for line in attacks.scores:
        if line["unit"] != "row" or not line["attack"].endswith("online"):
            continue  # the offline attacks are in the report and in --json
        percentile = percentiles.get((line["attack"], line["model"]))
        table.add_row(
            NAMES[line["attack"]],
            line["model"],
            f"{line['auc']:.2f} ({line['auc_low']:.2f} to {line['auc_high']:.2f})",
            *(_rate(rate) for rate in line["tpr"]),
            "" if percentile is None else f"{100 * percentile:.0f} %",
        )
    note = "references: all rows, by each member in turn, what an attacker can do with models of this kind"
    return Group(table, Text(note, style="dim"))


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["tpr"] is None:
        return "-"
    return f"{100 * rate['tpr']:.0f} % ({100 * rate['low']:.0f} to {100 * rate['high']:.0f})"
