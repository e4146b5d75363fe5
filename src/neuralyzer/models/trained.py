"""``TrainedModel``: a model with its recipe, its training rows and a holdout that it never saw."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from neuralyzer.data import near_copies, texts
from neuralyzer.data.rows import Data
from neuralyzer.errors import HoldoutError, NotFiniteError
from neuralyzer.models import reading, training, weights
from neuralyzer.models.compatibility import require_compatible
from neuralyzer.models.placement import Placement
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress
from neuralyzer.workspace import digests

SMALLEST_HOLDOUT = 200  # rows; fewer are refused. Chosen, not tuned


@dataclass(frozen=True)
class TrainedModel:
    """The original model that a case starts from (the Oracle); its module is never changed.

    Attributes:
        model: the trained module.
        recipe: how it was trained.
        data: the rows that it was trained on.
        holdout: rows that no model saw, or None.
        dropped: number of holdout rows that were left out because training rows have the same values, or nearly the
            same text.
        seconds: duration of its training; None where it was loaded.
        run: folder of its training history, or None.
        parent: weights digest of the first model of the lineage that it was unlearned from; None for a first model.
        file: SHA-256 of the file that it was read from, or None. Files with the same tensors may have other digests.
    """

    model: nn.Module
    recipe: Recipe
    data: Data
    holdout: Data | None
    dropped: int = 0
    seconds: float | None = None
    run: Path | None = None
    parent: str | None = None
    file: str | None = None
    digest: str = field(init=False, default="")

    def __post_init__(self) -> None:
        holdout, dropped = checked_holdout(self.data, self.holdout)
        object.__setattr__(self, "holdout", holdout)
        object.__setattr__(self, "dropped", self.dropped + dropped)
        weights.require_finite(weights.state(self.model), "the model")
        self.model.eval()
        object.__setattr__(self, "digest", weights.digest(self.model))

    @classmethod
    def fit(
        cls,
        recipe: Recipe,
        data: Data,
        holdout: Data | None = None,
        progress: Progress | None = None,
        observer: training.Observer | None = None,
        run: Path | None = None,
        device: str | None = None,
    ) -> "TrainedModel":
        """Train a model by the recipe.

        Args:
            recipe: how to train.
            data: training rows.
            holdout: 200 rows or more that no model sees.
            progress: shown a unit an epoch.
            observer: called at each step, such as ``registry.Recorder``.
            run: folder of the training history that the observer writes.
            device: such as ``cuda``; by default the GPU where there is one. The trained model is on the CPU.

        Returns:
            The trained model.

        Raises:
            NotFiniteError: if its holdout loss is NaN or infinite.
            UsageError: if there is no such device, or a classifier's outputs are probabilities.
        """
        placement = Placement.of(device)
        checked_holdout(data, holdout)
        require_compatible(recipe.module(), recipe.objective, data, holdout)
        began = time.perf_counter()
        module = training.train(recipe, data, progress=progress, observer=observer, placement=placement)
        trained = cls(module, recipe, data, holdout, seconds=time.perf_counter() - began, run=run)
        if trained.holdout is not None:
            loss = reading.mean_loss(module, recipe.objective, trained.holdout)
            if not np.isfinite(loss):
                raise NotFiniteError(f"the model's holdout loss is {loss}")
        return trained

    @classmethod
    def load(
        cls,
        recipe: Recipe,
        path: str | Path,
        data: Data,
        holdout: Data | None = None,
        run: Path | None = None,
        parent: str | None = None,
    ) -> "TrainedModel":
        """Return a model with weights from a safetensors file, or from a folder of the recipe's kind of model."""
        module = weights.load_into(recipe.module(), Path(path))
        file = None if Path(path).is_dir() else digests.of_file(Path(path))
        require_compatible(module, recipe.objective, data, holdout)
        return cls(module, recipe, data, holdout, run=run, parent=parent, file=file)

    @property
    def lineage(self) -> str:
        """Digest of the first model of the lineage, by which evaluation accesses are counted."""
        return self.parent or self.digest

    @cached_property
    def data_digest(self) -> str:
        """Digest of training and holdout rows together."""
        return digests.of_texts([self.data.digest, self.holdout.digest if self.holdout is not None else ""])

    def require_holdout(self) -> Data:
        """Return the holdout, the rows that no model saw.

        Raises:
            HoldoutError: if there is none.
        """
        if self.holdout is None:
            raise HoldoutError(
                "there is no holdout: give 200 rows or more that the model never saw; "
                "without them only locate and exact options work"
            )
        return self.holdout


def checked_holdout(data: Data, holdout: Data | None) -> tuple[Data | None, int]:
    """Return the holdout without rows whose values, or nearly whose text, are also in the training rows.

    A model saw such a row in other words, and each reference that was trained on the copy saw it too, so that it is no
    row that no model saw. All are left out, whatever a request names: the holdout is the same for every request.

    Returns:
        The remaining rows, and how many were dropped.

    Raises:
        HoldoutError: if it shares given row ids with the training rows, or is too small.
    """
    if holdout is None:
        return None, 0
    if not (data.numbered or holdout.numbered):
        shared = holdout.ids[texts.places(holdout.ids, data.ids) >= 0]
        if len(shared):
            raise HoldoutError(
                f"row id {min(shared)!r} stands in both training rows and holdout ({len(shared)} such); "
                "the holdout must be rows that no model saw"
            )
    if data.classes != holdout.classes:
        raise HoldoutError(
            f"the holdout's classes {holdout.classes} are not the training rows' {data.classes}; give classes= for both"
        )
    fresh = ~(digests.known(holdout.value_digests, data.value_digests) | _nearly_seen(holdout, data))
    kept = holdout if fresh.all() else holdout.select(fresh)
    if len(kept) < SMALLEST_HOLDOUT:
        raise HoldoutError(
            f"the holdout has {len(kept)} rows that are not training rows or near copies of one; "
            f"it needs {SMALLEST_HOLDOUT} or more"
        )
    return kept, int((~fresh).sum())


def _nearly_seen(holdout: Data, data: Data) -> np.ndarray:
    """Return which holdout rows nearly copy a training row ``(H,)``; looked up once for the same training rows."""
    key = ("near copies", data.digest)
    if key not in holdout.resolved:
        seen = np.zeros(len(holdout), dtype=bool)
        if near_copies.searchable(holdout) and near_copies.searchable(data):
            seen[[pair.one for pair in near_copies.pairs(holdout, data)]] = True
        holdout.resolved[key] = seen
    return holdout.resolved[key]
