"""The record of a sharded training on disk: a checkpoint before each stage, and which row is in which slice."""

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

HEAD = "sharded.json"  # file of a record that describes it


@dataclass(frozen=True)
class Record:
    """The record of one sharded training.

    Attributes:
        path: folder of the record.
        data: digest of the training rows.
        weights: digest of the whole ensemble's weights.
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
        """Return the records in a folder.

        Args:
            folder: the one that ``Sharded`` was given.

        Returns:
            The records, sorted by name.

        Raises:
            UnreadableError: if one is damaged.
        """
        records = []
        for head in sorted(Path(folder).glob(f"*/{HEAD}")):
            fields = atomic.read_json(head)
            try:
                records.append(cls(head.parent, fields["data"], fields["weights"], fields["seed"], fields["slices"]))
            except (KeyError, TypeError) as error:
                raise UnreadableError(f"{head} does not describe a sharded training (no {error})") from error
        return records

    @classmethod
    def of(cls, folder: str | Path, digest: str) -> "Record | None":
        """Return the record of the model whose weights have a digest, or None."""
        return next((record for record in cls.all(folder) if record.weights == digest), None)

    def checkpoint(self, shard: int, stage: int) -> Path:
        """Return the path of the weights of a shard's model before a stage."""
        return self.path / _name(shard, stage)


class Writer:
    """Writer of one record into a folder; the record appears as a whole when it is finished."""

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
        """Describe the training and move the record to its final place, unless an equal record is there."""
        digest = weights.digest(model)
        fields = {"data": data.digest, "weights": digest, "seed": seed, "slices": slices}
        atomic.write_json(self._part / HEAD, fields)
        if not (self.folder / digest[:16] / HEAD).exists():
            os.replace(self._part, self.folder / digest[:16])


def erase(folder: str | Path, ids: Sequence[str]) -> list[Path]:
    """Delete the records whose training rows include any of some rows: checkpoints were trained on them.

    Args:
        folder: of the records.
        ids: of the erased rows.

    Returns:
        Folders of the deleted records.
    """
    erased = set(ids)
    paths = [
        record.path
        for record in Record.all(folder)
        if any(not erased.isdisjoint(rows) for slices in record.slices for rows in slices)
    ]
    for path in paths:
        shutil.rmtree(path)
    return paths


def _name(shard: int, stage: int) -> str:
    """Return the path, within a record, of the weights of a shard's model before a stage."""
    return f"shard-{shard:03d}/before-{stage:03d}.safetensors"
