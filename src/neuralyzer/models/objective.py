"""The protocol of what a model is trained for; methods and signals read a model's outputs only through it."""

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from neuralyzer import _moved
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError
from neuralyzer.models.capabilities import Capability


class Objective(Protocol):
    """Losses, margins and utility, computed from a model's outputs and the targets.

    Further abilities are protocols of their own: ``CurvedObjective``, ``MatchableObjective`` and ``ScaledObjective``.
    Algorithms list those that they need among their ``needs``.

    Attributes:
        name: of the kind of task.
        counted: whether ``correct`` is 0 or 1 (so that copies of a row are counted) or a real number.
        utility_name: name of the figure that ``utility`` returns.
        max_utility_loss: the largest ``utility_loss`` that a plan may cost by default.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def counted(self) -> bool: ...  # noqa: D102
    @property
    def utility_name(self) -> str: ...  # noqa: D102
    @property
    def max_utility_loss(self) -> float: ...  # noqa: D102

    def outputs(self, model: nn.Module, x: Inputs) -> Tensor:
        """Return the model's outputs ``(N, C)`` on ``x (N, ...)``."""

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return each row's loss ``(N,)``; training minimises its mean."""

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return how confident the model is of each row's target ``(N,)``; unbounded, higher is more confident."""

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return how correct the model is on each row ``(N,)``; higher is more correct."""

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Return one figure for how good the model is on ``N`` rows, such as accuracy."""

    def utility_loss(self, before: float, after: float) -> float:
        """Return how much utility was lost, in the unit of ``max_utility_loss``; negative where it was gained."""


@runtime_checkable
class CurvedObjective(Objective, Protocol):
    """An objective whose loss has a Hessian with respect to the outputs, as influence functions and Fisher need it.

    Where outputs are readings of many predictions, as those of a language model, the objective has an attribute
    ``predictions``: the curved objective of these. ``P`` below is their number; it is ``N`` where each row has one.
    """

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """Return the Hessian of each row's loss with respect to its outputs, applied to ``tangents (P, C)``."""

    def drawn_gradients(self, outputs: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return loss gradients by outputs ``(P, C)`` at targets drawn from the model; second moment: ``curvature``."""


@runtime_checkable
class MatchableObjective(Objective, Protocol):
    """An objective whose outputs can be matched to those of other models (``datamodel-matching``)."""

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the combined output of ``M`` models for each row, ``(N, K)``, from their outputs ``(M, N, C)``."""

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """Return a target ``(N, K)`` with the ``margin`` of each row larger by ``by (N,)``."""

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """Return a target ``(N, K)``: outputs ``(N, C)`` less a share of the difference between ``seen`` and ``never``.

        Args:
            outputs: of the model, ``(N, C)``.
            seen: ``target`` of models that saw the rows, ``(N, K)``.
            never: ``target`` of models that never saw them, ``(N, K)``.
            share: of the difference that is subtracted; one number, or one a row ``(N, 1)``.
        """

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the gradient ``(N, C)``, by the outputs, of the loss between outputs and a ``target (N, K)``."""

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """Return that loss's Hessian halfway between outputs and target, applied to ``tangents (N, C)``."""


@runtime_checkable
class ScaledObjective(Objective, Protocol):
    """An objective whose margins have a scale, which is set when references are made."""

    def scaled(self, residuals: Tensor) -> Self:
        """Return the objective with its scale set from residuals of models on rows that they never saw."""


def capabilities(objective: Objective) -> frozenset[Capability]:
    """Return the capabilities that an objective has beyond ``Objective``."""
    has = {
        Capability.CURVATURE: isinstance(_predictions(objective), CurvedObjective),
        Capability.MATCHING: isinstance(objective, MatchableObjective),
    }
    return frozenset(capability for capability, there in has.items() if there)


def of_texts(objective: Objective) -> bool:
    """Return whether a row holds many predictions, as a text its tokens: it costs more, and says more, than others."""
    return _predictions(objective) is not objective


def _predictions(objective: Objective) -> Objective:
    """Return the objective of the model's predictions, which is the objective itself where each row has one."""
    inner: Objective = getattr(objective, "predictions", objective)
    return inner


def curved(objective: Objective) -> CurvedObjective:
    """Return the objective of the model's predictions, checked to have curvature.

    Raises:
        UsageError: if it has none.
    """
    inner = _predictions(objective)
    if not isinstance(inner, CurvedObjective):
        raise UsageError(f"the objective {objective.name!r} has no curvature: it lacks curvature or drawn_gradients")
    return inner


def matchable(objective: Objective) -> MatchableObjective:
    """Return the objective, checked to have outputs that can be matched.

    Raises:
        UsageError: if it has none.
    """
    if not isinstance(objective, MatchableObjective):
        raise UsageError(
            f"the outputs of objective {objective.name!r} cannot be matched: it lacks target, surer, without, mismatch "
            "or halfway"
        )
    return objective


def declared(objective: Objective) -> dict[str, Any]:
    """Return an objective's settings that change training and differ from their defaults; none of a plain class."""
    if not is_dataclass(objective):
        return {}
    measuring = {"scale", "name", "counted", "utility_name", "max_utility_loss"}  # these do not change training
    return {
        field.name: getattr(objective, field.name)
        for field in fields(objective)
        if field.name not in measuring and getattr(objective, field.name) != field.default
    }


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _moved.old_names(
        __name__,
        {name: f"neuralyzer.models.classification.{name}" for name in ("Classification", "LOG_ODDS", "labels")}
        | {name: f"neuralyzer.models.calling.{name}" for name in ("by_row", "call")},
    )
