"""The protocol of a kind of model: how its models are made and trained, and what can be done with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.placement import Placement
from neuralyzer.progress import Progress

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe
    from neuralyzer.models.training import Observer


class Kind(Protocol):
    """How the models of a recipe are made and trained.

    Whatever its kind, a model is a torch module. Called on rows ``(n, ...)`` in evaluation mode it returns outputs
    ``(n, C)``. Its ``state_dict`` holds everything that it learned as tensors. So reading, saving, loading, digests and
    comparisons are the same for all kinds. ``capabilities`` lists what else it can do; code that needs more checks for
    it and names in one line what is missing.

    Attributes:
        name: of the kind, as messages have it.
        capabilities: what can be done with its models.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def capabilities(self) -> frozenset[Capability]: ...  # noqa: D102

    def model(self, recipe: "Recipe") -> nn.Module:
        """Return a new untrained model with weights drawn from torch's global generator."""

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
    the recipe's digest covers: a model on another base is a model of another recipe. The part may be all of it, where
    a base is fine-tuned as a whole.
    """

    def trained_state(self) -> Mapping[str, Tensor]:
        """Return the tensors that training changes, by their names in ``state_dict`` or in the kind's own files."""

    def base_digest(self) -> str:
        """Return the SHA-256 of the base."""


@runtime_checkable
class InFolder(Protocol):
    """A model that other libraries read from a folder of files, such as PEFT's of an adapter.

    Attributes:
        file_name: of the weights in such a folder; the file is the one that ``weights.save`` writes.
    """

    @property
    def file_name(self) -> str: ...  # noqa: D102

    def describe_in(self, folder: Path) -> None:
        """Write what such a folder has beside the weights, such as their configuration."""

    def folder_of(self, path: Path) -> Path | None:
        """Return the folder that a path names, itself or by its file of weights; None where it is a file alone."""

    def read_folder(self, folder: Path, name: str) -> dict[str, Tensor]:
        """Return the tensors in such a folder, by the names in which the model is kept.

        Args:
            folder: that this or another library wrote.
            name: of the folder in error messages.

        Raises:
            WeightsError: if it is no such folder, or of another base.
        """


@runtime_checkable
class Selective(Protocol):
    """A model that says itself which rows it cannot read."""

    def require_rows(self, data: Data, what: str) -> None:
        """Refuse rows that it cannot read.

        Args:
            data: the rows.
            what: they are called in an error.

        Raises:
            UsageError: if it cannot read one.
        """


@runtime_checkable
class Stackable(Protocol):
    """A model that says itself how several of its recipe are trained side by side; others are stacked by ``vmap``."""

    def unstackable(self) -> str | None:
        """Return why models such as this one cannot be trained side by side; None where they can."""

    def stacked(self, models: Sequence[nn.Module]) -> nn.Module:
        """Return one model of several.

        Args:
            models: ``M`` of the recipe, for which ``unstackable`` is None.

        Returns:
            A model that computes as each of them on its own rows. It is called on rows ``(M n, ...)``, ``n`` of each model
            in turn. Its trained parameters have the names of theirs, in their order, and are stacked ``(M, ...)``.
        """


@runtime_checkable
class Restorable(Protocol):
    """A model whose tensor shapes depend on its training, such as a tree's; it checks the tensors itself."""

    def restore(self, state: Mapping[str, Tensor], name: str) -> None:
        """Load the tensors of another model of the kind.

        Args:
            state: its ``state_dict``.
            name: of the weights in error messages.

        Raises:
            WeightsError: if the tensors are not those of such a model.
        """
