"""The history of a training run: the order in which it saw the rows, and its checkpoints."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.models import weights
from neuralyzer.models.trained import TrainedModel
from neuralyzer.registry import optimizer_state
from neuralyzer.workspace import atomic
from neuralyzer.workspace.paths import Workspace, as_workspace

NEVER = -1
STORED = np.dtype("<u4")  # positions and counts on the disk
OPTIMIZER = ".optimizer.safetensors"
WEIGHTS = ".safetensors"


class Checkpoint(NamedTuple):
    """Weights that a run left on the disk.

    Attributes:
        step: number of steps that had been taken; the weights have seen the rows of these steps.
        path: the safetensors file.
        has_optimizer: whether the optimizer's state is beside it.
    """

    step: int
    path: Path
    has_optimizer: bool


def foreign(history: "History | None", oracle: TrainedModel, missing: str = "there is no checkpoint") -> str | None:
    """Return why a recorded training is not that of a model; None where it is.

    Args:
        history: the record, if there is one.
        oracle: the model.
        missing: what is missing without a record, for the sentence.

    Returns:
        A sentence, or None.
    """
    if history is None:
        return f"the training was not recorded, so {missing}"
    if history.data != oracle.data.digest:
        return "the recorded training was on other rows than the model's present ones"
    if history.recipe is not None and not oracle.recipe.known_as(history.recipe):
        return f"the run {history.name} was trained by another recipe than the model's"
    ended = history.weights
    if ended not in (None, oracle.digest) and ended not in weights.identities(oracle.model):
        return f"the run {history.name} ended in other weights than the model's"
    return None


class History:
    """The history in a run's folder, also of a run that was killed.

    Attributes:
        path: the run folder.
        data: digest of the training rows.
        rows: number of these rows.
        recipe: digest of the recipe, or None.
        seed: seed of the training, or None.
        weights: digest of the final weights, or None while the run is unfinished.
        finished: whether the run reached its end.
        base: digest of the pretrained weights that it started from, or None.
    """

    def __init__(self, path: Path, facts: dict[str, Any], order: np.ndarray, sizes: np.ndarray) -> None:
        self.path = path
        try:
            self.data: str = facts["data"]
            self.rows: int = facts["rows"]
            self.recipe: str | None = facts["recipe"]
            self.seed: int | None = facts["seed"]
            self.weights: str | None = facts["weights"]
            self.finished: bool = facts["finished"]
            self.base: str | None = facts.get("base")
            self._taken: int | None = facts.get("steps")
        except (KeyError, TypeError) as error:
            raise UnreadableError(f"{path / 'run.json'} does not describe a training run (no {error})") from error
        self._order, self._ends = order, np.cumsum(sizes, dtype=np.int64)
        if len(order) and order.max() >= self.rows:
            raise UnreadableError(f"{path / 'order.bin'} names row {order.max()} of {self.rows}; it is damaged")

    @classmethod
    def read(cls, path: str | Path) -> "History":
        """Read a run folder; a step that a kill left half-written is left out.

        Args:
            path: the run folder.

        Returns:
            The history of all whole steps.

        Raises:
            UnreadableError: if it is no run folder, or damaged.
        """
        path = Path(path)
        facts = atomic.read_json(path / "run.json")
        order, sizes = _numbers(path / "order.bin"), _numbers(path / "steps.bin")
        whole = int(np.searchsorted(np.cumsum(sizes, dtype=np.int64), len(order), side="right"))
        sizes = sizes[:whole]
        return cls(path, facts, order[: int(sizes.sum(dtype=np.int64))], sizes)

    @property
    def name(self) -> str:
        """Return the run's name, which is its folder's."""
        return self.path.name

    @property
    def steps(self) -> int:
        """Return the number of recorded steps."""
        return len(self._ends)

    @property
    def whole(self) -> bool:
        """Return whether the run is finished and every step of it is recorded."""
        return self.finished and self.steps == self._taken

    @cached_property
    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints on the disk, oldest first."""
        checkpoints = []
        for path in sorted((self.path / "checkpoints").glob(f"*{WEIGHTS}")):
            if path.name.removesuffix(WEIGHTS).isdigit():
                has_optimizer = path.with_name(path.name.removesuffix(WEIGHTS) + OPTIMIZER).exists()
                checkpoints.append(Checkpoint(int(path.name.removesuffix(WEIGHTS)), path, has_optimizer))
        return sorted(checkpoints)

    @cached_property
    def _first(self) -> np.ndarray:
        unseen = np.iinfo(np.int64).max
        first = np.full(self.rows, unseen)
        sizes = np.diff(self._ends, prepend=0)
        np.minimum.at(first, self._order, np.repeat(np.arange(self.steps), sizes))
        first[first == unseen] = NEVER
        return first

    def first_seen(self, positions: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the step that first saw each row.

        Args:
            positions: rows of the training data, ``(n,)``.

        Returns:
            Steps ``(n,)`` counted from 0; -1 where no recorded step saw the row.

        Raises:
            UsageError: if a position is not among the run's rows.
        """
        index = np.asarray(positions, dtype=np.int64)
        outside = index[(index < 0) | (index >= self.rows)]
        if len(outside):
            raise UsageError(f"run {self.name} was trained on {self.rows} rows; none stands at {outside[0]}")
        return self._first[index]

    def earliest(self, positions: np.ndarray | Sequence[int]) -> int | None:
        """Return the first step that saw any of the rows at ``positions``, or None."""
        seen = self.first_seen(positions)
        return int(seen[seen != NEVER].min()) if (seen != NEVER).any() else None

    def clean(self, positions: np.ndarray | Sequence[int]) -> list[Checkpoint]:
        """Return the checkpoints that saw none of the rows at ``positions``, oldest first.

        A checkpoint that is newer than the recorded steps does not count as clean, since what it saw is unknown.

        Returns:
            Some of ``checkpoints``; empty where even the oldest saw one of the rows.
        """
        earliest = self.earliest(positions)
        last = self.steps if earliest is None else earliest
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.step <= last]

    def newest_clean(self, positions: np.ndarray | Sequence[int]) -> Checkpoint | None:
        """Return the newest checkpoint that saw none of the rows at ``positions``, or None."""
        clean = self.clean(positions)
        return clean[-1] if clean else None

    def batches_from(self, step: int) -> Iterator[np.ndarray]:
        """Yield the rows of each recorded step from ``step`` on.

        Yields:
            Positions ``(rows of the step,)``.
        """
        for at in range(step, self.steps):
            yield self._order[self._ends[at - 1] if at else 0 : self._ends[at]].astype(np.int64)

    def load(
        self, checkpoint: Checkpoint, module: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> nn.Module:
        """Put a checkpoint into ``module``, and its optimizer's state into ``optimizer`` where one is given.

        Args:
            checkpoint: one of ``checkpoints``.
            module: of the run's architecture.
            optimizer: of the module's parameters, of the run's class.

        Returns:
            ``module``.

        Raises:
            WeightsError: if the weights do not fit, are not finite or are truncated.
            UsageError: if the run recorded no optimizer, or another one.
        """
        if optimizer is not None and not checkpoint.has_optimizer:
            raise UsageError(f"checkpoint {checkpoint.step} of run {self.name} was recorded without its optimizer")
        weights.load_into(module, checkpoint.path)
        if optimizer is not None:
            name = checkpoint.path.name.removesuffix(WEIGHTS) + OPTIMIZER
            optimizer_state.load_into(optimizer, checkpoint.path.with_name(name))
        return module


def runs(workspace: Workspace | Path | str) -> list[History]:
    """Return the histories of all runs in the workspace, by name."""
    return [History.read(facts.parent) for facts in sorted(as_workspace(workspace).runs.glob("*/run.json"))]


def _numbers(path: Path) -> np.ndarray:
    """Return the whole numbers in a file, without a tail that a kill cut."""
    try:
        return np.fromfile(path, STORED, count=path.stat().st_size // STORED.itemsize)
    except FileNotFoundError:
        return np.empty(0, STORED)
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
