"""Before a pool is paid for: does the recipe reproduce its model?

One member is trained and held against the model, which should be its equal but for the rows that the member lacks and
the seed. Two things are compared, each by the mean of paired differences over rows, beyond three standard errors:

- *holdout*: the losses' ratio is at most 1.5, or what the missing share s of the rows explains, 1 / (1 - s); and
  where rows are counted right or wrong, the accuracies differ by 5 points at most.
- *fit*: on rows that both were trained on, the losses differ by at most half of the smaller gap between holdout and
  training loss. That gap is what every trace is measured in: a model that fits its rows otherwise than the members
  do has traces of no meaning, such as one whose training was cut off.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError
from neuralyzer.models import reading
from neuralyzer.models.objective import Objective
from neuralyzer.models.trained import TrainedModel

ERRORS = 3.0  # standard errors of a mean of paired differences
RATIO = 1.5  # of holdout losses
POINTS = 0.05  # of accuracy
GAP = 0.5  # of the gap between holdout and training loss
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
    """

    holdout: tuple[float, float]
    training: tuple[float, float]
    utility: tuple[float, float]
    oracle: str
    reason: str | None

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
    score = partial(_paired, oracle.model, member, objective, lacked)
    beyond, fitted = score(objective.losses, holdout), score(objective.losses, seen)
    right = score(objective.correct, holdout) if objective.counted else None
    models = (oracle.model, member)
    utility = right.means if right else tuple(reading.utility(own, objective, holdout) for own in models)
    finding = Finding(beyond.means, fitted.means, (utility[0], utility[1]), oracle.digest, None)
    missing = 1 - len(kept) / len(oracle.data)
    return replace(finding, reason=_reason(beyond, fitted, right, utility, missing))


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
    def outputs(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        found = reading.outputs(module, objective, x)
        return found.index_fill(1, torch.from_numpy(lacked), -torch.inf) if len(lacked) else found

    values = [
        torch.cat([score(outputs(module, x), y).double() for x, y in data.chunks()]).numpy()
        for module in (model, member)
    ]
    difference = values[1] - values[0]
    return _Pair(
        (float(values[0].mean()), float(values[1].mean())), float(difference.std(ddof=1) / np.sqrt(len(difference)))
    )


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
