"""What a sharded training leaves on the disk: a checkpoint before each stage, and which row is in which slice."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import StorageError, UnreadableError
from neuralyzer.models import weights
from neuralyzer.workspace import atomic

HEAD = "sharded.json"


@dataclass(frozen=True)
class Record:
    """A recorded training.

    Attributes:
        path: its folder.
        data: digest of the training rows.
        weights: digest of the whole model's weights.
        seed: of the training.
        slices: ids of the rows of each slice of each shard.
    """

    path: Path
    data: str
    weights: str
    seed: int
    slices: Sequence[Sequence[Sequence[str]]]

    @classmethod
    def all(cls, folder: str | Path) -> list["Record"]:
        """The records in a folder.

        Args:
            folder: that ``Sharded`` was given.

        Returns:
            The records, by their names.

        Raises:
            UnreadableError: if one is damaged.
        """
        found = []
        for head in sorted(Path(folder).glob(f"*/{HEAD}")):
            facts = atomic.read_json(head)
            try:
                found.append(cls(head.parent, facts["data"], facts["weights"], facts["seed"], facts["slices"]))
            except (KeyError, TypeError) as error:
                raise UnreadableError(f"{head} does not describe a sharded training (no {error})") from error
        return found

    @classmethod
    def of(cls, folder: str | Path, digest: str) -> "Record | None":
        """The record of the model whose weights have a digest, or None."""
        return next((record for record in cls.all(folder) if record.weights == digest), None)

    def checkpoint(self, shard: int, stage: int) -> Path:
        """Weights of a shard's model before a stage."""
        return self.path / _name(shard, stage)


class Writer:
    """Writes a record beside the others; it is there as a whole once it is finished."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __enter__(self) -> Self:
        try:
            atomic.make_folder(self.folder)
            self._part = Path(tempfile.mkdtemp(dir=self.folder, prefix=".part-"))
        except OSError as error:
            raise StorageError(f"cannot write {self.folder}: {error.strerror}; choose another folder") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        shutil.rmtree(self._part, ignore_errors=True)

    def keep(self, shard: int, stage: int, module: nn.Module) -> None:
        """Write the checkpoint before a stage."""
        weights.save(module, self._part / _name(shard, stage))

    def take_over(self, record: Record, shard: int, stage: int) -> None:
        """Copy a checkpoint from another record."""
        (self._part / _name(shard, stage)).parent.mkdir(exist_ok=True)
        shutil.copyfile(record.checkpoint(shard, stage), self._part / _name(shard, stage))

    def finish(self, model: nn.Module, data: Data, slices: Sequence[Sequence[Sequence[str]]], seed: int) -> None:
        """Write what the training was of and put the record in its place, unless the same stands there."""
        digest = weights.digest(model)
        facts = {"data": data.digest, "weights": digest, "seed": seed, "slices": slices}
        atomic.write_json(self._part / HEAD, facts)
        if not (self.folder / digest[:16] / HEAD).exists():
            os.replace(self._part, self.folder / digest[:16])


def erase(folder: str | Path, ids: Sequence[str]) -> list[Path]:
    """Delete the records whose checkpoints, or lists of rows, hold any of some rows.

    Args:
        folder: of the records.
        ids: of the rows that are gone for good.

    Returns:
        What was deleted.
    """
    gone = set(ids)
    paths = [
        record.path
        for record in Record.all(folder)
        if any(not gone.isdisjoint(own) for slices in record.slices for own in slices)
    ]
    for path in paths:
        shutil.rmtree(path)
    return paths


def _name(shard: int, stage: int) -> str:
    return f"shard-{shard:03d}/before-{stage:03d}.safetensors"
