"""The reproduction check, before a pool is trained: does the recipe reproduce its model?

One member is trained and compared with the model. The two should differ only by the rows that the member lacks and by
the seed. Four things are compared by the mean of paired differences over rows; each limit is exceeded only by more than
three standard errors. ``s`` is the share of the rows that the member lacks.

- *holdout*: the ratio of losses is at most 1.5, or ``1 / (1 - s)`` if that is more. For classification, the accuracies
  differ by at most 5 points.
- *fit*: on rows that both were trained on, the losses differ by at most half of the smaller generalisation gap (holdout
  loss minus training loss). Traces are measured in units of that gap. If a model fits its rows otherwise than the
  members do, such as one whose training was cut off, its traces have no meaning.
- *margins*, on rows that both were trained on and on the holdout: the spreads (interquartile range, or standard
  deviation where many rows have the same value) differ by a factor of at most 1.5, or ``1 / (1 - s)`` if that is more.
  The medians differ by at most ``1 / (1 - s)`` times half of the root mean square spread. Traces are computed from
  margins, which show what losses do not: smoothed labels, averaged weights, a larger batch.
- *confidence*, on the same rows: the mean probability of the likeliest class differs by at most 5 points; and so does
  the accuracy on rows that both were trained on.

docs/statistics.md, "Recipes that are declared wrongly", has what the check catches.
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

ERRORS = 3.0  # standard errors by which each limit must be exceeded
RATIO = 1.5  # largest ratio of holdout losses, and of the margins' spreads
POINTS = 0.05  # largest difference of accuracies and of mean confidences
GAP = 0.5  # largest difference of training losses, of the generalisation gap; and of medians, of the spread
STEPS = 0.1  # share of rows with one and the same value from which quartiles are not used
ROWS = 5_000  # largest number of training rows that are read


@dataclass(frozen=True)
class Finding:
    """The comparison of a member with the model: mean losses and utilities, each as ``(model, member)``.

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
        """Return the finding as plain values."""
        return asdict(self) | {"holdout": [*self.holdout], "training": [*self.training], "utility": [*self.utility]}


def compare(oracle: TrainedModel, member: nn.Module, kept: np.ndarray) -> Finding:
    """Compare a member with the model; classes of which the member had no row are left out of rows and outputs.

    Args:
        oracle: the model.
        member: trained by its recipe on some of its rows.
        kept: positions of those rows.

    Returns:
        The finding.
    """
    objective, holdout = oracle.recipe.objective, oracle.require_holdout()
    seen, lacked = oracle.data.select(kept[:ROWS]), _lacking_classes(oracle, kept)
    if len(lacked):  # of a pool with groups
        holdout = holdout.select(np.flatnonzero(~np.isin(holdout.y.flatten().numpy(), lacked)))
    score, rows = partial(_paired, oracle.model, member, objective, lacked), {"training": seen, "holdout": holdout}
    on_holdout, on_training = score(objective.losses, holdout), score(objective.losses, seen)
    correct = {name: score(objective.correct, data) for name, data in rows.items()} if objective.counted else {}
    accuracy = correct.get("holdout")
    models = (oracle.model, member)
    utility = accuracy.means if accuracy else tuple(reading.utility(model, objective, holdout) for model in models)
    margins = {name: score(objective.margin, data) for name, data in rows.items()}
    confidence = {name: score(_confidence, data) for name, data in rows.items()} if objective.counted else {}
    finding = Finding(
        on_holdout.means, on_training.means, (utility[0], utility[1]), oracle.digest, None,
        {name: {"median": pair.medians, "spread": pair.spreads} for name, pair in margins.items()},
        {name: pair.means for name, pair in confidence.items()},
    )  # fmt: skip
    missing = 1 - len(kept) / len(oracle.data)
    reason = _mean_reason(on_holdout, on_training, accuracy, utility, missing) or _distribution_reason(
        margins, confidence, correct.get("training"), missing
    )
    return replace(finding, reason=reason)


def _confidence(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the probability of the likeliest class, ``(N,)``."""
    return outputs.softmax(1).max(1).values


def _distribution_reason(
    margins: Mapping[str, "_Pair"], confidence: Mapping[str, "_Pair"], accuracy: "_Pair | None", missing: float
) -> str | None:
    """Return how margins, confidence, or accuracy on training rows differ too much; None where they do not."""
    more = 1 / (1 - missing)  # a member that lacks many rows fits the others better, and is worse elsewhere
    where = {"training": "on rows that both were trained on", "holdout": "on the holdout"}
    for name, pair in margins.items():
        large, small = max(pair.spreads), min(pair.spreads)
        # Standard error of the logarithm of the ratio of two interquartile ranges, for values that are about normal.
        error = np.sqrt(2.7 / pair.rows)
        if large > 0 and np.log(large / max(small, 1e-12)) > np.log(max(RATIO, more)) + ERRORS * error:
            return f"its margins {where[name]} spread by {pair.spreads[1]:.3g} and the model's by {pair.spreads[0]:.3g}"
        allowed = more * GAP * float(np.sqrt(np.square(pair.spreads).mean()))
        if abs(pair.medians[1] - pair.medians[0]) > allowed + ERRORS * pair.error:
            return f"its median margin {where[name]} is {pair.medians[1]:.3g} and the model's {pair.medians[0]:.3g}"
    for name, pair in confidence.items():
        if pair.differ(more * POINTS):
            return f"its mean confidence {where[name]} is {pair.means[1]:.3f} and the model's {pair.means[0]:.3f}"
    if accuracy is not None and accuracy.differ(more * POINTS):
        return f"its accuracy {where['training']} is {accuracy.means[1]:.3f} and the model's {accuracy.means[0]:.3f}"
    return None


def _lacking_classes(oracle: TrainedModel, kept: np.ndarray) -> np.ndarray:
    """Return the classes of which a member had no row."""
    if not oracle.recipe.objective.counted:
        return np.empty(0, dtype=int)
    labels = oracle.data.y.flatten().numpy()
    return np.setdiff1d(labels, labels[kept])


@dataclass(frozen=True)
class _Pair:
    """One score of model and member on the same rows, each field as ``(model, member)``."""

    means: tuple[float, float]
    error: float  # of the mean difference
    medians: tuple[float, float]
    spreads: tuple[float, float]
    rows: int

    def differ(self, allowed: float) -> bool:
        return abs(self.means[1] - self.means[0]) > allowed + ERRORS * self.error


def _mean_reason(
    on_holdout: _Pair, on_training: _Pair, accuracy: _Pair | None, utility: tuple[float, ...], missing: float
) -> str | None:
    """Return how holdout loss, holdout accuracy, or training loss differ too much; None where they do not."""
    least = max(min(on_holdout.means), 0.0)
    if on_holdout.differ((max(RATIO, 1 / (1 - missing)) - 1) * least):
        return f"its holdout loss is {on_holdout.means[1]:.3g} and the model's {on_holdout.means[0]:.3g}"
    if accuracy is not None and accuracy.differ(POINTS / (1 - missing)):
        return f"its holdout utility is {utility[1]:.3f} and the model's {utility[0]:.3f}"
    gap = min(abs(holdout - training) for holdout, training in zip(on_holdout.means, on_training.means, strict=True))
    if on_training.differ(GAP * gap):
        member, model = on_training.means[1], on_training.means[0]
        return f"its loss on rows that both were trained on is {member:.3g} and the model's {model:.3g}"
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
        logits = reading.outputs(module, objective, x)
        return logits.index_fill(1, torch.from_numpy(lacked), -torch.inf) if len(lacked) else logits

    values = [
        torch.cat([score(outputs(module, x), y).double() for x, y in data.chunks()]).numpy()
        for module in (model, member)
    ]
    difference = values[1] - values[0]
    steps = any(np.unique(scores, return_counts=True)[1].max() > STEPS * len(scores) for scores in values)
    return _Pair(
        (float(values[0].mean()), float(values[1].mean())), float(difference.std(ddof=1) / np.sqrt(len(difference))),
        (float(np.median(values[0])), float(np.median(values[1]))), (_spread(values[0], steps), _spread(values[1], steps)),
        len(difference),
    )  # fmt: skip


def _spread(values: np.ndarray, steps: bool) -> float:
    """Return a standard deviation that outliers do not dominate, from the interquartile range of a normal distribution.

    If many rows have the same value, such as the votes of ten trees, a quartile moves in large steps, so the sample
    standard deviation is returned.

    Args:
        values: of all rows.
        steps: whether many rows have the same value.

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
