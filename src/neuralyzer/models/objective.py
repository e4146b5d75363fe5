"""What a model is trained for: methods and signals speak to models only through an ``Objective``."""

from dataclasses import fields, is_dataclass
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError
from neuralyzer.models.kinds.kind import Capability


class Objective(Protocol):
    """Per-row readings of a model's outputs.

    What more an objective can do are protocols of their own: ``CurvedObjective``, ``MatchableObjective`` and
    ``ScaledObjective``. Algorithms name what they need of them among their ``needs``.

    Attributes:
        name: of the kind of task.
        counted: whether ``correct`` is 0 or 1 (so that copies of a row are counted) or a real number.
        utility_name: of the figure that ``utility`` gives.
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
        """Return how surely the model knows each row ``(N,)``; higher is surer, unbounded."""

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return how right the model is on each row ``(N,)``; higher is righter."""

    def utility(self, outputs: Tensor, y: Tensor) -> float:
        """Return one figure for the model's use on ``N`` rows."""

    def utility_loss(self, before: float, after: float) -> float:
        """Return how much utility was lost, in the unit of ``max_utility_loss``; negative where it was won."""


@runtime_checkable
class CurvedObjective(Objective, Protocol):
    """An objective whose loss has a Hessian by the outputs: what influence functions and Fisher matrices need."""

    def curvature(self, outputs: Tensor, y: Tensor, tangents: Tensor) -> Tensor:
        """Return each row's loss Hessian with respect to its outputs, applied to ``tangents (N, C)``."""

    def drawn_gradients(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return loss gradients ``(N, C)`` at targets drawn from the model: their second moment is ``curvature``."""


@runtime_checkable
class MatchableObjective(Objective, Protocol):
    """An objective whose outputs can be matched to those of other models (``datamodel-matching``)."""

    def target(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return what ``M`` models say together of each row, ``(N, K)`` from their outputs ``(M, N, C)``."""

    def surer(self, target: Tensor, y: Tensor, by: Tensor) -> Tensor:
        """Return a target ``(N, K)`` with the ``margin`` of each row larger by so much, ``(N,)``."""

    def without(self, outputs: Tensor, seen: Tensor, never: Tensor, share: float | Tensor) -> Tensor:
        """Return a target ``(N, K)``: outputs ``(N, C)`` less a share of the difference between ``seen`` and ``never``.

        Args:
            outputs: of the model, ``(N, C)``.
            seen: what models that saw the rows say together, ``(N, K)``.
            never: what models that never saw them say together, ``(N, K)``.
            share: of the difference, of all rows or of each, ``(N, 1)``.
        """

    def mismatch(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the gradient by outputs ``(N, C)`` of the loss against what ``target`` gave, ``(N, C)``."""

    def halfway(self, outputs: Tensor, target: Tensor, tangents: Tensor) -> Tensor:
        """Return the Hessian of that loss half-way from ``outputs`` to a match, applied to ``tangents (N, C)``."""


@runtime_checkable
class ScaledObjective(Objective, Protocol):
    """An objective whose readings have a unit, which is set when references are made."""

    def scaled(self, residuals: Tensor) -> Self:
        """Return the objective with its scale set from residuals of models on rows that they never saw."""


_PROTOCOLS: dict[Capability, type] = {
    Capability.CURVATURE: CurvedObjective,
    Capability.MATCHING: MatchableObjective,
}


def capabilities(objective: Objective) -> frozenset[Capability]:
    """Return what an objective has beyond its readings."""
    return frozenset(capability for capability, protocol in _PROTOCOLS.items() if isinstance(objective, protocol))


def curved(objective: Objective) -> CurvedObjective:
    """Return the objective as one that has curvature.

    Raises:
        UsageError: if it has none.
    """
    if not isinstance(objective, CurvedObjective):
        raise UsageError(f"the objective {objective.name!r} has no curvature: it lacks curvature or drawn_gradients")
    return objective


def matchable(objective: Objective) -> MatchableObjective:
    """Return the objective as one whose outputs can be matched.

    Raises:
        UsageError: if they cannot be.
    """
    if not isinstance(objective, MatchableObjective):
        raise UsageError(
            f"the outputs of objective {objective.name!r} cannot be matched: it lacks target, surer, without, mismatch "
            "or halfway"
        )
    return objective


def declared(objective: Objective) -> dict[str, Any]:
    """What is said of an objective beyond its default: the settings of a dataclass that change its losses."""
    if not is_dataclass(objective):
        return {}
    plain = {"scale", "name", "counted", "utility_name", "max_utility_loss"}  # of readings, not of training
    return {
        own.name: getattr(objective, own.name)
        for own in fields(objective)
        if own.name not in plain and getattr(objective, own.name) != own.default
    }


_MOVED = ("LOG_ODDS", "Classification", "labels")  # to ``models.classification``


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    from neuralyzer.models import classification

    message = f"models.objective.{name} is now models.classification.{name}; the old name goes with the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return getattr(classification, name)
