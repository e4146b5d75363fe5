"""Classifiers of scikit-learn: trained by ``fit``, read by ``predict_proba``, stored by skops, which runs no code."""

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
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.classification import labels
from neuralyzer.models.placement import Placement
from neuralyzer.progress import Progress

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe
    from neuralyzer.models.training import Observer

# Smallest and largest value of ``Fitted.floor``. A forest gives probability 0 to a class that none of its trees votes
# for, and the logarithm of 0 is infinite. Both limits were chosen, not tuned.
FLOOR = (1e-6, 1e-2)
TRUSTED_PREFIX = "sklearn."  # types that an archive may hold besides those that skops trusts
ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)  # zip's earliest; the same in all archives, so that equal models have equal bytes


@dataclass(frozen=True)
class Estimator:
    """A scikit-learn classifier with ``predict_proba``, or a pipeline that ends in one.

    Attributes:
        make: returns a new, unfitted estimator; each ``random_state`` in it is set to the seed.
        classes: number of classes; one that is missing from the training rows gets the smallest probability.
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
        """Return an unfitted model."""
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
        """Fit an estimator on all rows at once.

        Args:
            recipe: whose kind this is.
            data: rows of numbers, flattened to ``(N, features)``, with class numbers.
            seed: set as every ``random_state`` of the estimator.
            progress: shown one unit.
            observer: not called: there are no steps.
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
        model = Fitted(self.classes)
        archive = torch.frombuffer(bytearray(_packed(estimator)), dtype=torch.uint8)
        model.restore({"fitted": archive, "floor": _floor(estimator.predict_proba(x))}, "the estimator")
        return model.eval()

    def described(self, recipe: "Recipe") -> dict[str, Any]:
        """Return the estimator's class and its settings, including those of nested estimators."""
        estimator = self.make()
        settings = {name: repr(value) for name, value in sorted(estimator.get_params().items())}
        return {
            "kind": self.name,
            "estimator": type(estimator).__qualname__,
            "settings": settings,
            "classes": self.classes,
        }


class Fitted(nn.Module):
    """A fitted estimator as a module, whose two tensors are the bytes of its skops archive and the floor.

    Attributes:
        classes: number of classes ``C``.
        fitted: the archive, ``(bytes,)``; empty before it is fitted.
        floor: smallest probability that the model gives, in float64; smaller ones are raised to it. It is half of the
            smallest that the estimator gives on the training rows, see ``FLOOR``.
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
        """Load an archive.

        Args:
            state: has ``fitted``, ``(bytes,)``, and ``floor``.
            name: of the archive in error messages.

        Raises:
            WeightsError: if it does not hold a fitted classifier with these classes.
        """
        if set(state) != {"fitted", "floor"} or state["fitted"].dtype != torch.uint8:
            raise WeightsError(f"{name} does not fit the recipe: it holds no scikit-learn estimator")
        estimator = _unpacked(state["fitted"].numpy().tobytes(), name)
        fitted_classes = np.asarray(getattr(estimator, "classes_", []))
        if not len(fitted_classes) or fitted_classes.min() < 0 or fitted_classes.max() >= self.classes:
            raise WeightsError(f"{name} does not fit the recipe: its classes are not 0 to {self.classes - 1}")
        self.fitted, self.floor, self._estimator = state["fitted"].clone(), state["floor"].clone(), estimator

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities ``(n, C)`` of rows ``x (n, ...)``, all alike before it is fitted."""
        floor = float(self.floor)
        probabilities = np.full((len(x), self.classes), floor)
        if self._estimator is not None:
            probabilities[:, self._estimator.classes_] = np.maximum(self._estimator.predict_proba(_table(x)), floor)
        if not np.isfinite(probabilities).all():
            raise NotFiniteError("the estimator gives NaN or infinite probabilities; it cannot be judged")
        return torch.from_numpy(np.log(probabilities / probabilities.sum(1, keepdims=True))).float()


def _table(x: Inputs) -> np.ndarray:
    """Return rows as a matrix ``(n, features)`` in float64."""
    rows = batches.features(x)
    return np.asarray(rows.reshape(len(rows), -1).double().numpy())


def _floor(probabilities: np.ndarray) -> Tensor:
    """Return half of the smallest probability above 0, within ``FLOOR``: the estimator resolves nothing smaller."""
    return torch.tensor(np.clip(probabilities[probabilities > 0].min() / 2, *FLOOR), dtype=torch.float64)


def _packed(estimator: Any) -> bytes:
    """Return a skops archive that has equal bytes for equal estimators.

    Skops itself writes memory addresses and the present time; here objects are numbered in order and the time is fixed.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[int, int] = {}
    schema = _numbered(json.loads(parts.pop("schema.json")), numbers)
    files = {f"{numbers[int(name.split('.')[0])]}.{name.split('.', 1)[1]}": part for name, part in parts.items()}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, part in sorted((files | {"schema.json": json.dumps(schema).encode()}).items()):
            archive.writestr(zipfile.ZipInfo(name, ARCHIVE_TIME), part)
    return written.getvalue()


def _numbered(node: Any, numbers: dict[int, int]) -> Any:
    """Return a schema whose objects are numbered in the order of first use, in place of their memory addresses.

    Args:
        node: the schema, or a part of it.
        numbers: the number of each address so far; extended.
    """
    if isinstance(node, list):
        return [_numbered(child, numbers) for child in node]
    if not isinstance(node, dict):
        return node
    renumbered = {}
    for key, child in node.items():
        if key == "__id__":
            child = numbers.setdefault(child, len(numbers))
        elif key == "file":
            stem, _, rest = child.partition(".")
            child = f"{numbers.setdefault(int(stem), len(numbers))}.{rest}"
        renumbered[key] = _numbered(child, numbers)
    return renumbered


def _unpacked(content: bytes, name: str) -> Any:
    """Return the estimator in a skops archive; refuse types from outside scikit-learn, which could run code."""
    import skops.io

    try:
        unknown = skops.io.get_untrusted_types(data=content)
        untrusted = [kind for kind in unknown if not kind.startswith(TRUSTED_PREFIX)]
        if untrusted:
            raise WeightsError(f"{name} holds a {untrusted[0]}, which is no type of scikit-learn and could run code")
        return skops.io.loads(content, trusted=unknown)
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise WeightsError(f"{name} holds no whole scikit-learn estimator ({first_line(error)})") from error
