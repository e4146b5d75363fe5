"""``Data``: rows with targets, subjects and ids, read in batches."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from neuralyzer.errors import UsageError
from neuralyzer.workspace import digests

READ_ROWS = 4096  # rows read at once where all of a large source must pass by


class Rows(Protocol):
    """A source of rows that can be read by position."""

    def __len__(self) -> int:
        """How many rows there are."""

    def gather(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read ``n`` rows: ``x (n, ...)`` and ``y (n, ...)``."""


class ArrayRows:
    """Rows that lie in memory."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        if len(x) != len(y):
            raise UsageError(f"x has {len(x)} rows and y has {len(y)}; they must be equal")
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def gather(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Index both tensors."""
        index = torch.as_tensor(positions, dtype=torch.long)
        return self.x[index], self.y[index]


class DatasetRows:
    """Rows of a map-style ``torch.utils.data.Dataset`` of pairs ``(x, y)``, read when asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def gather(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read the pairs one by one and stack them."""
        pairs = [self.dataset[int(position)] for position in positions]
        return (
            torch.stack([torch.as_tensor(x) for x, _ in pairs]),
            torch.stack([torch.as_tensor(y) for _, y in pairs]),
        )


class Data:
    """``N`` rows, each with a target, an id and the subject it belongs to.

    Build it with ``from_arrays``, ``from_dataset``, ``from_parquet``, ``from_csv`` or ``from_jsonl``.

    Attributes:
        ids: row ids ``(N,)`` as text.
        subjects: whose row each is ``(N,)``, as text; a row without a subject is its own.
        numbered: whether the ids were only counted here (such ids never clash with another set's).
        classes: names of the classes where targets were text, else None.
        table: the columns that a predicate may name, or None.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
        classes: tuple[str, ...] | None = None,
        table: pa.Table | None = None,
        positions: np.ndarray | None = None,
    ) -> None:
        self._rows = rows
        self._positions = np.arange(len(rows)) if positions is None else positions
        count = len(self._positions)
        self.numbered = ids is None
        self.ids = self._positions.astype(str) if ids is None else np.asarray(ids).astype(str)
        if len(self.ids) != count:
            raise UsageError(f"there are {count} rows and {len(self.ids)} ids; they must be equal")
        if len(np.unique(self.ids)) != count:
            values, counts = np.unique(self.ids, return_counts=True)
            raise UsageError(f"row ids must be unique; {str(values[counts > 1][0])!r} stands {counts.max()} times")
        if subjects is None:
            self.subjects = np.char.add("row:", self.ids) if count else self.ids
        else:
            if len(subjects) != count:
                raise UsageError(f"there are {count} rows and {len(subjects)} subjects; they must be equal")
            self.subjects = np.array(
                [f"row:{own}" if _missing(name) else str(name) for name, own in zip(subjects, self.ids, strict=True)]
            )
        self.classes = classes
        self.table = table

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
    ) -> "Data":
        """Rows from arrays or tensors ``x (N, ...)`` and ``y (N,)`` or ``(N, k)``."""
        return cls(ArrayRows(as_features(x), as_target(y)), subjects=subjects, ids=ids)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
    ) -> "Data":
        """Rows from a map-style ``torch.utils.data.Dataset`` of pairs, with one subject a row."""
        return cls(DatasetRows(dataset), subjects=subjects, ids=ids)

    @classmethod
    def from_parquet(cls, path: str | Path, **columns: Any) -> "Data":
        """Rows from a Parquet file; the arguments are those of ``sources.from_table``."""
        from neuralyzer.data import sources

        return sources.from_table(sources.read_parquet(Path(path)), str(path), **columns)

    @classmethod
    def from_csv(cls, path: str | Path, **columns: Any) -> "Data":
        """Rows from a CSV file with a header; the arguments are those of ``sources.from_table``."""
        from neuralyzer.data import sources

        return sources.from_table(sources.read_csv(Path(path)), str(path), **columns)

    @classmethod
    def from_jsonl(cls, path: str | Path, **columns: Any) -> "Data":
        """Rows from a JSON Lines file; the arguments are those of ``sources.from_table``."""
        from neuralyzer.data import sources

        return sources.from_table(sources.read_jsonl(Path(path)), str(path), **columns)

    def __len__(self) -> int:
        return len(self._positions)

    def gather(self, positions: np.ndarray | Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read rows by position.

        Args:
            positions: ``(n,)`` positions among these rows.

        Returns:
            ``x (n, ...)`` and ``y (n, ...)``.
        """
        return self._rows.gather(self._positions[np.asarray(positions, dtype=np.int64)])

    def chunks(self, size: int = READ_ROWS) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.gather(np.arange(start, min(start + size, len(self))))

    @cached_property
    def x(self) -> Tensor:
        """Features of all rows, ``(N, ...)``."""
        return torch.cat([x for x, _ in self.chunks()])

    @cached_property
    def y(self) -> Tensor:
        """Targets of all rows, ``(N,)`` or ``(N, k)``."""
        return torch.cat([y for _, y in self.chunks()])

    @property
    def labels(self) -> np.ndarray:
        """Each row's class as text ``(N,)``: its name where targets were text, else its number."""
        numbers = self.y.reshape(len(self), -1)[:, 0].numpy()
        return np.array(self.classes)[numbers] if self.classes else numbers.astype(str)

    def select(self, positions: np.ndarray | Sequence[int]) -> "Data":
        """The rows at ``positions``, in that order, as data of their own with their ids and subjects."""
        index = np.asarray(positions)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        chosen = Data(
            self._rows,
            ids=self.ids[index],
            subjects=self.subjects[index],
            classes=self.classes,
            table=None if self.table is None else self.table.take(pa.array(index)),
            positions=self._positions[index],
        )
        chosen.numbered = self.numbered
        return chosen

    def loader(self, batch_size: int, seed: int | None = None, ids: bool = False) -> Iterator[tuple[Any, ...]]:
        """One pass over the rows in batches.

        Args:
            batch_size: rows a batch; the last may be smaller.
            seed: of the order; None keeps the rows in order.
            ids: whether each batch also carries its row ids.

        Yields:
            ``(x, y)``, or ``(x, y, ids)``.
        """
        order = np.arange(len(self)) if seed is None else np.random.default_rng(seed).permutation(len(self))
        for start in range(0, len(self), batch_size):
            at = order[start : start + batch_size]
            x, y = self.gather(at)
            yield (x, y, self.ids[at]) if ids else (x, y)

    def where(self, predicate: str) -> np.ndarray:
        """Positions of the rows that satisfy a predicate in SQL, such as ``age < 18``."""
        from neuralyzer.data import sources

        table = self.table if self.table is not None else pa.table({"id": self.ids, "subject": self.subjects})
        return sources.where(table, predicate)

    @cached_property
    def row_digests(self) -> np.ndarray:
        """SHA-256 of each row's features and target ``(N,)``; equal content has equal digests."""
        found: list[str] = []
        for x, y in self.chunks():
            found += digests.of_rows(x.numpy(), y.numpy())
        return np.array(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over ids, subjects and contents of all rows, in order."""
        return digests.of_texts(
            part for row in zip(self.ids, self.subjects, self.row_digests, strict=True) for part in row
        )


def as_features(x: Any) -> Tensor:
    """Features as a tensor; floating point becomes float32, integers (tokens) stay."""
    tensor = _own(x)
    return tensor.float() if tensor.dtype == torch.float64 or tensor.dtype == torch.bool else tensor


def as_target(y: Any) -> Tensor:
    """Targets as a tensor; integers become int64 class numbers, floating point float32."""
    tensor = _own(y)
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def _own(values: Any) -> Tensor:
    """A tensor that shares nothing with ``values``, which may be an array that must not be written."""
    return values.detach().clone() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))


def _missing(name: Any) -> bool:
    return name is None or name == "" or (isinstance(name, float) and np.isnan(name))
