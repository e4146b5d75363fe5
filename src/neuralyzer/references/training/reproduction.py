"""Before a pool is paid for: does the recipe reproduce its model?

One member is trained and held against the model, which should be its equal but for the rows that the member lacks and
the seed. Four things are compared, each by the mean of paired differences over rows, beyond three standard errors:

- *holdout*: the losses' ratio is at most 1.5, or what the missing share s of the rows explains, 1 / (1 - s); and
  where rows are counted right or wrong, the accuracies differ by 5 points at most.
- *fit*: on rows that both were trained on, the losses differ by at most half of the smaller gap between holdout and
  training loss. That gap is what every trace is measured in: a model that fits its rows otherwise than the members
  do has traces of no meaning, such as one whose training was cut off.
- *margins*, on rows that both were trained on and on the holdout: their spreads (by the interquartile range, or the standard
  deviation where many rows have one value) differ by a
  factor of 1.5 at most, and their medians by half of the spread of both together, more where the member lacks much:
  1 / (1 - s) times as much. Traces are read from margins, and much that does not show in a
  loss shows in them: smoothed labels, averaged weights, a larger batch.
- *confidence*, on the same rows: the mean probability of the likeliest class differs by 5 points at most; and so does
  the accuracy on rows that both were trained on.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError
from neuralyzer.models import reading
from neuralyzer.models.objective import Objective
from neuralyzer.models.trained import TrainedModel

ERRORS = 3.0  # standard errors of a mean of paired differences
RATIO = 1.5  # of holdout losses
POINTS = 0.05  # of accuracy
GAP = 0.5  # of the gap between holdout and training loss
STEPS = 0.1  # of the rows with one value: quartiles then stand on steps
ROWS = 5_000  # training rows that are read at most


@dataclass(frozen=True)
class Finding:
    """A member beside the model: mean losses and utilities, each as ``(model, member)``.

    Attributes:
        holdout: loss on the holdout.
        training: loss on rows that both were trained on.
        utility: on the holdout.
        oracle: digest of the model's weights.
        reason: why the recipe does not reproduce the model; None where it does.
        margins: ``median`` and ``spread`` of the margins on ``training`` and ``holdout`` rows.
        confidence: mean probability of the likeliest class on the same; empty where there are no classes.
    """

    holdout: tuple[float, float]
    training: tuple[float, float]
    utility: tuple[float, float]
    oracle: str
    reason: str | None
    margins: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    confidence: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"holdout": [*self.holdout], "training": [*self.training], "utility": [*self.utility]}


def compare(oracle: TrainedModel, member: nn.Module, kept: np.ndarray) -> Finding:
    """Hold a member against the model; where it was given no row of a class, on the other classes, as if there were but these.

    Args:
        oracle: the model.
        member: trained by its recipe on some of its rows.
        kept: positions of those rows.

    Returns:
        The finding.
    """
    objective, holdout = oracle.recipe.objective, oracle.require_holdout()
    seen, lacked = oracle.data.select(kept[:ROWS]), _lacked(oracle, kept)
    if len(lacked):  # of a pool with groups
        holdout = holdout.select(np.flatnonzero(~np.isin(holdout.y.flatten().numpy(), lacked)))
    score, rows = partial(_paired, oracle.model, member, objective, lacked), {"training": seen, "holdout": holdout}
    beyond, fitted = score(objective.losses, holdout), score(objective.losses, seen)
    correct = {name: score(objective.correct, own) for name, own in rows.items()} if objective.counted else {}
    right = correct.get("holdout")
    models = (oracle.model, member)
    utility = right.means if right else tuple(reading.utility(own, objective, holdout) for own in models)
    margins = {name: score(objective.margin, own) for name, own in rows.items()}
    sure = {name: score(_confidence, own) for name, own in rows.items()} if objective.counted else {}
    finding = Finding(
        beyond.means, fitted.means, (utility[0], utility[1]), oracle.digest, None,
        {name: {"median": own.medians, "spread": own.spreads} for name, own in margins.items()},
        {name: own.means for name, own in sure.items()},
    )  # fmt: skip
    missing = 1 - len(kept) / len(oracle.data)
    reason = _reason(beyond, fitted, right, utility, missing) or _distribution(
        margins, sure, correct.get("training"), missing
    )
    return replace(finding, reason=reason)


def _confidence(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Probability of the likeliest class, ``(N,)``."""
    return outputs.softmax(1).max(1).values


def _distribution(
    margins: Mapping[str, "_Pair"], sure: Mapping[str, "_Pair"], known: "_Pair | None", missing: float
) -> str | None:
    """What tells the distributions of margins apart, confidence, or accuracy on known rows; None where nothing does."""
    more = 1 / (1 - missing)  # a member that lacks many rows fits the others better, and is worse elsewhere
    where = {"training": "on rows that both were trained on", "holdout": "on the holdout"}
    for name, own in margins.items():
        large, small = max(own.spreads), min(own.spreads)
        # The standard error of the logarithm of two interquartile ranges' ratio, where values are about normal.
        if large > 0 and np.log(large / max(small, 1e-12)) > np.log(max(RATIO, more)) + ERRORS * np.sqrt(
            2.7 / own.rows
        ):
            return f"its margins {where[name]} spread by {own.spreads[1]:.3g} and the model's by {own.spreads[0]:.3g}"
        allowed = more * GAP * float(np.sqrt(np.square(own.spreads).mean()))
        if abs(own.medians[1] - own.medians[0]) > allowed + ERRORS * own.error:
            return f"its median margin {where[name]} is {own.medians[1]:.3g} and the model's {own.medians[0]:.3g}"
    for name, own in sure.items():
        if own.differ(more * POINTS):
            return f"its mean confidence {where[name]} is {own.means[1]:.3f} and the model's {own.means[0]:.3f}"
    if known is not None and known.differ(more * POINTS):
        return f"its accuracy {where['training']} is {known.means[1]:.3f} and the model's {known.means[0]:.3f}"
    return None


def _lacked(oracle: TrainedModel, kept: np.ndarray) -> np.ndarray:
    """Classes of which a member was given no row."""
    if not oracle.recipe.objective.counted:
        return np.empty(0, dtype=int)
    labels = oracle.data.y.flatten().numpy()
    return np.setdiff1d(labels, labels[kept])


@dataclass(frozen=True)
class _Pair:
    means: tuple[float, float]
    error: float  # of the mean difference
    medians: tuple[float, float]
    spreads: tuple[float, float]
    rows: int

    def differ(self, allowed: float) -> bool:
        return abs(self.means[1] - self.means[0]) > allowed + ERRORS * self.error


def _reason(
    beyond: _Pair, fitted: _Pair, right: _Pair | None, utility: tuple[float, ...], missing: float
) -> str | None:
    least = max(min(beyond.means), 0.0)
    if beyond.differ((max(RATIO, 1 / (1 - missing)) - 1) * least):
        return f"its holdout loss is {beyond.means[1]:.3g} and the model's {beyond.means[0]:.3g}"
    if right is not None and right.differ(POINTS / (1 - missing)):
        return f"its holdout utility is {utility[1]:.3f} and the model's {utility[0]:.3f}"
    gap = min(abs(outside - own) for outside, own in zip(beyond.means, fitted.means, strict=True))
    if fitted.differ(GAP * gap):
        return (
            f"its loss on rows that both were trained on is {fitted.means[1]:.3g} and the model's {fitted.means[0]:.3g}"
        )
    return None


def _paired(
    model: nn.Module,
    member: nn.Module,
    objective: Objective,
    lacked: np.ndarray,
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    data: Data,
) -> _Pair:
    def outputs(module: nn.Module, x: Inputs) -> torch.Tensor:
        found = reading.outputs(module, objective, x)
        return found.index_fill(1, torch.from_numpy(lacked), -torch.inf) if len(lacked) else found

    values = [
        torch.cat([score(outputs(module, x), y).double() for x, y in data.chunks()]).numpy()
        for module in (model, member)
    ]
    difference = values[1] - values[0]
    steps = any(np.unique(own, return_counts=True)[1].max() > STEPS * len(own) for own in values)
    return _Pair(
        (float(values[0].mean()), float(values[1].mean())), float(difference.std(ddof=1) / np.sqrt(len(difference))),
        (float(np.median(values[0])), float(np.median(values[1]))), (_spread(values[0], steps), _spread(values[1], steps)),
        len(difference),
    )  # fmt: skip


def _spread(values: np.ndarray, steps: bool) -> float:
    """Standard deviation as the interquartile range tells it: a few odd rows do not rule it.

    Where many rows have the same value, as the votes of ten trees give them, a quartile moves by a whole step; there it is
    the plain one.

    Args:
        values: of all rows.
        steps: whether many have the same.

    Returns:
        The spread.
    """
    if steps:
        return float(values.std(ddof=1))
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) / 1.349


def require(finding: dict[str, Any]) -> None:
    """Refuse a recipe that does not reproduce its model.

    Raises:
        ReferencesError: if the finding says so.
    """
    if finding["reason"] is not None:
        raise ReferencesError(
            f"the recipe does not reproduce the model: a reference trained by it beforehand says otherwise "
            f"({finding['reason']}); put epochs, optimizer and data in the recipe as the model had them, or "
            "say 'unchecked' if you know better"
        )
