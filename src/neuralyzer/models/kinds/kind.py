"""What a kind of model is: how its models are made and trained, and what can be done with them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.models.placement import Placement
from neuralyzer.progress import Progress

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe
    from neuralyzer.models.training import Observer


class Capability(StrEnum):
    """What can be done with a model: its kind has some, its objective others; an algorithm or a signal needs some."""

    GRADIENTS = "gradients"
    ROW_GRADIENTS = "per-row gradients"
    INPUT_GRADIENTS = "gradients of its inputs"
    CONTINUED = "continued training"
    STACKED = "stacked training"
    CURVATURE = "curvature"
    MATCHING = "outputs that can be matched"


OF_OBJECTIVES = frozenset({Capability.CURVATURE, Capability.MATCHING})  # what an objective has, whatever the kind


class Kind(Protocol):
    """How the models of a recipe are made and trained.

    Whatever its kind, a model is a torch module: called on rows ``(n, ...)`` in evaluation mode it gives outputs
    ``(n, C)``, and its ``state_dict`` holds all that it learned as tensors. So reading, saving, loading, digests and
    comparisons are the same for all kinds. What else it can do, its ``capabilities`` say; whatever needs more asks
    for it and says in one line what is missing. A recipe checks its own settings, for its kind, when it is made.

    Attributes:
        name: of the kind.
        capabilities: what can be done with its models.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def capabilities(self) -> frozenset[Capability]: ...  # noqa: D102

    def model(self, recipe: "Recipe") -> nn.Module:
        """Return a new model that nothing was trained on, its weights drawn from torch's generator."""

    def train(
        self,
        recipe: "Recipe",
        data: Data,
        seed: int,
        progress: Progress,
        observer: "Observer | None",
        placement: Placement,
    ) -> nn.Module:
        """Return a model trained on ``data``: the same rows and seed give the same weights."""

    def described(self, recipe: "Recipe") -> dict[str, Any]:
        """Return the settings that the recipe's digest covers, as JSON values."""


@runtime_checkable
class OnFrozenBase(Protocol):
    """A model that trains a part of itself, such as a head or adapters, on a base that never changes.

    What is written, digested, compared and certified is the trained part alone. The base is known by its digest, which
    the recipe's digest covers: a model on another base is a model of another recipe.
    """

    def trained_state(self) -> Mapping[str, Tensor]:
        """Return the tensors that training changes, by their names in ``state_dict``."""

    def base_digest(self) -> str:
        """Return the SHA-256 of the base."""


@runtime_checkable
class Restorable(Protocol):
    """A model whose tensors have other shapes each time that it is trained, such as a tree's: it checks them itself."""

    def restore(self, state: Mapping[str, Tensor], name: str) -> None:
        """Take over the tensors of another model of the kind.

        Args:
            state: its ``state_dict``.
            name: what an error calls it.

        Raises:
            WeightsError: if they are none of such a model.
        """
