"""The recording of a training run while it trains, so that a kill at any moment leaves a readable history."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralyzer.data import texts
from neuralyzer.data.rows import Data
from neuralyzer.errors import StorageError, UnknownSubjectError, UsageError
from neuralyzer.models import weights
from neuralyzer.registry import optimizer_state
from neuralyzer.registry.history import OPTIMIZER, STORED, WEIGHTS
from neuralyzer.workspace import atomic, digests


class Recorder:
    """An observer of each step of a training, which writes its history (``models.training.Observer``).

    Call ``finish`` when the training is done.

    Attributes:
        path: the run folder.
        every: steps between checkpoints.
        optimizers: whether a checkpoint also holds the optimizer's state.
    """

    def __init__(
        self,
        path: str | Path,
        data: Data,
        every: int = 200,
        recipe: str | None = None,
        seed: int | None = None,
        optimizers: bool = True,
        base: str | None = None,
    ) -> None:
        if every < 1:
            raise UsageError(f"every is {every}; it is the number of steps between checkpoints, at least 1")
        self.path, self.every, self.optimizers = Path(path), every, optimizers
        self._facts = {
            "data": data.digest,
            "rows": len(data),
            "recipe": recipe,
            "seed": seed,
            "base": base,
            "weights": None,
            "finished": False,
        }
        self._rows = len(data)
        self._module: nn.Module | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._waiting: list[np.ndarray] = []
        self._steps = self._written_steps = self._written_rows = 0

    def begin(self, module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Open the run and write the checkpoint of step 0.

        Args:
            module: the model, before its first step.
            optimizer: its optimizer, or None to record none.

        Raises:
            UsageError: if the folder holds a run already.
            StorageError: if the disk is full.
        """
        if (self.path / "run.json").exists():
            raise UsageError(f"{self.path} holds a training run already; record to another folder")
        self._module, self._optimizer = module, optimizer if self.optimizers else None
        for name in ("order.bin", "steps.bin"):
            atomic.write_bytes(self.path / name, b"")
        self._checkpoint(module)
        atomic.write_json(self.path / "run.json", self._facts)

    def step(self, positions: np.ndarray) -> None:
        """Record a step on the rows at ``positions`` of the training data, after the optimizer took it.

        Args:
            positions: ``(rows of the step,)``.

        Raises:
            UsageError: if the run has not begun, or a position is not among the rows.
            StorageError: if the disk is full.
        """
        if self._module is None:
            raise UsageError("the recorder has seen no begin(module, optimizer) before its first step")
        positions = np.asarray(positions)
        outside = positions[(positions < 0) | (positions >= self._rows)]
        if len(outside):
            raise UsageError(f"step {self._steps} names row {outside[0]}; the data has {self._rows} rows")
        self._waiting.append(positions.astype(STORED))
        self._steps += 1
        if self._steps % self.every == 0:
            self._checkpoint(self._module)

    def flush(self) -> None:
        """Write all steps so far to the disk.

        Raises:
            StorageError: if the disk is full.
        """
        if not self._waiting:
            return
        sizes = np.array([len(positions) for positions in self._waiting], dtype=STORED)
        # Rows are written before their step's size: reading leaves out a step whose rows are incomplete.
        _write_at(self.path / "order.bin", self._written_rows, np.concatenate(self._waiting))
        _write_at(self.path / "steps.bin", self._written_steps, sizes)
        self._written_rows += int(sizes.sum(dtype=np.int64))
        self._written_steps += len(sizes)
        self._waiting = []

    def finish(self, module: nn.Module) -> None:
        """Write the last checkpoint and mark the run as finished with the digest of its final weights.

        Args:
            module: the trained model.

        Raises:
            StorageError: if the disk is full.
        """
        if self._module is None:  # the user's own training code, whose steps were not observed: there is no history
            return
        written = self._checkpoint(module)
        self._facts |= {"weights": digests.of_file(written), "finished": True, "steps": self._steps}
        atomic.write_json(self.path / "run.json", self._facts)

    def _checkpoint(self, module: nn.Module) -> Path:
        self.flush()  # first, so that no checkpoint has seen steps that are not recorded
        stem = self.path / "checkpoints" / f"{self._steps:08d}"
        if self._optimizer is not None:
            optimizer_state.save(self._optimizer, stem.with_name(stem.name + OPTIMIZER))
        return weights.save(module, stem.with_name(stem.name + WEIGHTS))


@dataclass(frozen=True)
class Recording:
    """The recording that ``record`` returns to a training loop."""

    recorder: Recorder
    ids: np.ndarray
    by_id: np.ndarray  # positions of the ids in sorted order

    def step(self, ids: Sequence[Any] | np.ndarray | torch.Tensor) -> None:
        """Record a step; call it after ``optimizer.step()``.

        Args:
            ids: row ids of the batch, text or whole numbers, ``(rows of the batch,)``.

        Raises:
            UnknownSubjectError: if an id is not in the data.
            StorageError: if the disk is full.
        """
        wanted = texts.as_names(np.atleast_1d(np.asarray(ids)))
        at = np.searchsorted(self.ids, wanted, sorter=self.by_id).clip(max=len(self.ids) - 1)
        positions = self.by_id[at]
        unknown = self.ids[positions] != wanted
        if unknown.any():
            raise UnknownSubjectError(
                f"no row of the data has id {str(wanted[unknown][0])!r}; give the batch's row ids"
            )
        self.recorder.step(positions)


@contextmanager
def record(
    path: str | Path,
    model: nn.Module,
    data: Data,
    every: int = 200,
    optimizer: torch.optim.Optimizer | None = None,
) -> Iterator[Recording]:
    """Record the history of a user's training loop, so that a request can roll it back or replay it.

    Open it before the first step: the checkpoint of step 0 must have seen no row. A run that ends by an exception
    stays unfinished. ``locate`` finds runs in the workspace's folder ``runs/``.

    Args:
        path: a new folder for the run.
        model: the module that is trained.
        data: its training rows.
        every: steps between checkpoints.
        optimizer: the model's optimizer, so that training can be resumed exactly from a checkpoint.

    Yields:
        An object whose ``step(ids)`` is called after each step with the row ids of the batch.

    Raises:
        UsageError: if the folder holds a run already.
        StorageError: if the disk is full.
    """
    recorder = Recorder(path, data, every)
    recorder.begin(model, optimizer)
    try:
        yield Recording(recorder, data.ids, np.argsort(data.ids))
    finally:
        recorder.flush()  # the user may save weights after an interruption, which have seen these rows
    recorder.finish(model)


def _write_at(path: Path, offset: int, values: np.ndarray) -> None:
    """Write numbers from the ``offset``-th on, over the remains of a failed write."""
    try:
        with path.open("r+b") as file:
            file.seek(offset * STORED.itemsize)
            file.write(values.tobytes())
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from error
