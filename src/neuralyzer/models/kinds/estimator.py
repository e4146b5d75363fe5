"""Classifiers of scikit-learn: trained by ``fit``, read by ``predict_proba``, kept by skops, which runs no code."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UsageError, WeightsError, first_line
from neuralyzer.models.classification import labels
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.placement import Placement
from neuralyzer.progress import Progress

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe
    from neuralyzer.models.training import Observer

# Within these lies what probabilities are raised to: a forest says 0 of a class that none of its trees votes for.
FLOOR = (1e-6, 1e-2)
OWN = "sklearn."  # the types that a file may hold besides plain ones
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every part of an archive, so that equal models have equal bytes


@dataclass(frozen=True)
class Estimator:
    """A scikit-learn classifier with ``predict_proba``, or a pipeline that ends in one.

    Attributes:
        make: gives a new estimator that was not fitted; a ``random_state`` in it is set to the seed.
        classes: how many classes there are; one that is not in the training rows gets the smallest probability.
    """

    make: Callable[[], Any]
    classes: int

    name: ClassVar[str] = "scikit-learn estimator"
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    def __post_init__(self) -> None:
        if find_spec("skops") is None:
            raise UsageError("scikit-learn models are kept by skops; pip install 'neuralyzer-unlearning[tables]'")
        if self.classes < 2:
            raise UsageError(f"classes is {self.classes}; it must be at least 2")

    def model(self, recipe: "Recipe") -> nn.Module:
        """Return a model that was not fitted."""
        return Fitted(self.classes)

    def train(
        self,
        recipe: "Recipe",
        data: Data,
        seed: int,
        progress: Progress,
        observer: "Observer | None",
        placement: Placement,
    ) -> nn.Module:
        """Fit an estimator on all rows at once; no step is seen, for there is none.

        Args:
            recipe: whose kind this is.
            data: rows of numbers, flattened to ``(N, features)``, with class numbers.
            seed: set as every ``random_state`` of the estimator.
            progress: shown one unit.
            observer: told nothing.
            placement: not used: scikit-learn computes on the CPU.

        Returns:
            The model.

        Raises:
            UsageError: if ``make`` gives no classifier with probabilities, or it cannot be fitted.
        """
        estimator = self.make()
        if not (hasattr(estimator, "fit") and hasattr(estimator, "predict_proba")):
            raise UsageError(f"the recipe's make gave a {type(estimator).__name__}, which lacks fit or predict_proba")
        random = [name for name in estimator.get_params() if name.split("__")[-1] == "random_state"]
        estimator.set_params(**dict.fromkeys(random, seed))
        progress.start("training", 1)
        x, y = _table(data.x), labels(data.y).numpy()
        try:
            estimator.fit(x, y)
        except ValueError as error:
            raise UsageError(f"the estimator cannot be fitted on {len(data)} rows: {first_line(error)}") from error
        progress.advance()
        progress.finish()
        found = Fitted(self.classes)
        archive = torch.frombuffer(bytearray(_packed(estimator)), dtype=torch.uint8)
        found.restore({"fitted": archive, "floor": _floor(estimator.predict_proba(x))}, "the estimator")
        return found.eval()

    def described(self, recipe: "Recipe") -> dict[str, Any]:
        """Return the class of the estimator and its settings, those of its parts included."""
        estimator = self.make()
        settings = {name: repr(value) for name, value in sorted(estimator.get_params().items())}
        return {
            "kind": self.name,
            "estimator": type(estimator).__qualname__,
            "settings": settings,
            "classes": self.classes,
        }


class Fitted(nn.Module):
    """A fitted estimator as a module; its tensors are the archive that skops writes of it, byte by byte, and the floor.

    Attributes:
        classes: ``C``.
        fitted: the archive, ``(bytes,)``; empty before it is fitted.
        floor: what its probabilities are raised to, in float64: half of the smallest that it gives a training row.
    """

    fitted: Tensor
    floor: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("fitted", torch.empty(0, dtype=torch.uint8))
        self.register_buffer("floor", torch.tensor(FLOOR[0], dtype=torch.float64))
        self._estimator: Any = None

    def restore(self, state: Mapping[str, Tensor], name: str) -> None:
        """Take over an archive.

        Args:
            state: has ``fitted``, ``(bytes,)``, and ``floor``.
            name: what an error calls it.

        Raises:
            WeightsError: if it is none of a fitted classifier with these classes.
        """
        if set(state) != {"fitted", "floor"} or state["fitted"].dtype != torch.uint8:
            raise WeightsError(f"{name} does not fit the recipe: it holds no scikit-learn estimator")
        estimator = _unpacked(state["fitted"].numpy().tobytes(), name)
        known = np.asarray(getattr(estimator, "classes_", []))
        if not len(known) or known.min() < 0 or known.max() >= self.classes:
            raise WeightsError(f"{name} does not fit the recipe: its classes are not 0 to {self.classes - 1}")
        self.fitted, self.floor, self._estimator = state["fitted"].clone(), state["floor"].clone(), estimator

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities ``(n, C)`` of rows ``x (n, ...)``; the same of all classes before it is fitted."""
        floor = float(self.floor)
        found = np.full((len(x), self.classes), floor)
        if self._estimator is not None:
            found[:, self._estimator.classes_] = np.maximum(self._estimator.predict_proba(_table(x)), floor)
        if not np.isfinite(found).all():
            raise NotFiniteError("the estimator gives NaN or infinite probabilities; it cannot be judged")
        return torch.from_numpy(np.log(found / found.sum(1, keepdims=True))).float()


def _table(x: Inputs) -> np.ndarray:
    own = batches.features(x)
    return np.asarray(own.reshape(len(own), -1).double().numpy())


def _floor(chances: np.ndarray) -> Tensor:
    """Half of the smallest probability above 0, within ``FLOOR``: votes tell nothing smaller from 0."""
    return torch.tensor(np.clip(chances[chances > 0].min() / 2, *FLOOR), dtype=torch.float64)


def _packed(estimator: Any) -> bytes:
    """The archive that skops writes, with numbered objects and no time: equal estimators have equal bytes."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[int, int] = {}
    schema = _numbered(json.loads(parts.pop("schema.json")), numbers)
    files = {f"{numbers[int(name.split('.')[0])]}.{name.split('.', 1)[1]}": own for name, own in parts.items()}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, own in sorted((files | {"schema.json": json.dumps(schema).encode()}).items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), own)
    return written.getvalue()


def _numbered(node: Any, numbers: dict[int, int]) -> Any:
    """A schema with its objects numbered in order, where skops has their places in memory."""
    if isinstance(node, list):
        return [_numbered(own, numbers) for own in node]
    if not isinstance(node, dict):
        return node
    found = {}
    for key, own in node.items():
        if key == "__id__":
            own = numbers.setdefault(own, len(numbers))
        elif key == "file":
            stem, _, rest = own.partition(".")
            own = f"{numbers.setdefault(int(stem), len(numbers))}.{rest}"
        found[key] = _numbered(own, numbers)
    return found


def _unpacked(content: bytes, name: str) -> Any:
    import skops.io

    try:
        unknown = skops.io.get_untrusted_types(data=content)
        odd = [own for own in unknown if not own.startswith(OWN)]
        if odd:
            raise WeightsError(f"{name} holds a {odd[0]}, which is no type of scikit-learn and could run code")
        return skops.io.loads(content, trusted=unknown)
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise WeightsError(f"{name} holds no whole scikit-learn estimator ({first_line(error)})") from error
