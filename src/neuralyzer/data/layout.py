"""Which column is what, and how a batch of rows of a table becomes features and targets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from neuralyzer.errors import UsageError


@dataclass(frozen=True)
class Layout:
    """Which column is what.

    Attributes:
        target: column of the targets; text becomes class numbers in the order of ``classes``, or sorted.
        subject: column of the subject ids; without it each row is its own subject.
        id: column of the row ids; without it rows are numbered.
        features: columns of the features; by default every other column. Lists of equal length become one more axis.
        transform: makes the features ``(n, ...)`` from a table of ``n`` rows with all columns, in place of
            ``features``. It sees a small file whole and a large one in batches, so what it makes of a row must not
            depend on the other rows.
        classes: names of the classes, where targets are text.
    """

    target: str
    subject: str | None = None
    id: str | None = None
    features: Sequence[str] | None = None
    transform: Callable[[pa.Table], Any] | None = None
    classes: Sequence[str] | None = None

    def check(self, names: Sequence[str], what: str) -> None:
        """See that the columns are there.

        Args:
            names: the columns that there are.
            what: what to call their table in an error.

        Raises:
            UsageError: if one is missing, or there are no features.
        """
        for column in (self.target, self.subject, self.id, *(self.features or ())):
            if column is not None and column not in names:
                raise UsageError(f"{what} has no column {column!r}; it has {', '.join(names)}")
        if self.transform is None and not self.features_among(names):
            raise UsageError(f"{what} has no feature column besides target, subject and id")

    def features_among(self, names: Iterable[str]) -> list[str]:
        """The columns of the features."""
        return list(self.features or [name for name in names if name not in (self.target, self.subject, self.id)])

    @property
    def known(self) -> list[str]:
        """The columns of target, subject and id."""
        return [name for name in (self.target, self.subject, self.id) if name is not None]

    def features_of(self, table: pa.Table, what: str) -> Tensor:
        """The features of a batch of rows.

        Args:
            table: ``n`` rows.
            what: what to call them in an error.

        Returns:
            ``(n, ...)``.

        Raises:
            UsageError: if they are not numbers and there is no ``transform``, or it makes something else.
        """
        if self.transform is None:
            return as_features(_stack(table, self.features_among(table.column_names), what))
        made = as_features(self.transform(table))
        if made.ndim == 0 or len(made) != len(table):
            raise UsageError(
                f"{what}: transform made features of shape {tuple(made.shape)} of {len(table)} rows; it must give one "
                "entry a row"
            )
        return made


class Targets:
    """Targets, batch by batch; text becomes class numbers once all of it has been seen."""

    def __init__(self, layout: Layout) -> None:
        self._column, self._given = layout.target, layout.classes
        self._numbers = {name: number for number, name in enumerate(layout.classes or ())}
        self._parts: list[np.ndarray] = []
        self._text = False

    def read(self, table: pa.Table, what: str) -> None:
        """Take in a batch.

        Args:
            table: with the column of the targets.
            what: what to call it in an error.

        Raises:
            UsageError: if a target is missing, or is neither a number nor the name of a class.
        """
        targets = table[self._column].combine_chunks()
        if pa.types.is_dictionary(targets.type):
            targets = targets.dictionary_decode()
        missing = targets.is_null(nan_is_null=True).to_numpy(zero_copy_only=False).sum()
        if missing:
            raise UsageError(f"{what}: {missing} rows have no {self._column!r}; every training row needs a target")
        kind = targets.type
        self._text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        self._parts.append(self._named(targets, what) if self._text else _numbers(targets, self._column, what))

    def _named(self, targets: pa.Array, what: str) -> np.ndarray:
        coded = targets.cast(pa.string()).dictionary_encode()
        names = coded.dictionary.to_pylist()
        unknown = sorted(set(names) - set(self._numbers))
        if unknown and self._given is not None:
            raise UsageError(f"{what}: target {unknown[0]!r} is none of the classes {', '.join(self._given)}")
        for name in unknown:
            self._numbers[name] = len(self._numbers)
        numbers: np.ndarray = np.array([self._numbers[name] for name in names])[coded.indices.to_numpy()]
        return numbers

    def all(self) -> tuple[Tensor, tuple[str, ...] | None]:
        """The targets of all batches ``(N,)`` or ``(N, k)``, and the names of the classes."""
        y = np.concatenate(self._parts)
        if not self._text or self._given is not None:
            return as_target(y), None if self._given is None else tuple(self._given)
        names = sorted(self._numbers)
        rank = np.empty(len(names), np.int64)
        rank[[self._numbers[name] for name in names]] = np.arange(len(names))
        return as_target(rank[y]), tuple(names)


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


def _numbers(targets: pa.Array, column: str, name: str) -> np.ndarray:
    """Targets that are numbers, or lists of equal length of numbers."""
    try:
        y = np.array(targets.to_pylist()) if _is_list(targets.type) else targets.to_numpy(zero_copy_only=False)
    except ValueError:
        y = np.array(None)
    if y.dtype.kind not in "biuf":
        raise UsageError(f"{name}: target {column!r} is neither numbers nor text, but {targets.type}")
    return y


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _stack(table: pa.Table, columns: Sequence[str], name: str) -> np.ndarray:
    parts = []
    for column in columns:
        values = table[column].combine_chunks()
        try:
            if _is_list(values.type):
                part = np.array(values.to_pylist(), dtype=np.float32)
            else:
                part = values.to_numpy(zero_copy_only=False).astype(np.float32)[:, None]
        except (ValueError, TypeError):
            raise UsageError(
                f"{name}: column {column!r} holds no plain numbers; leave it out with features= or give transform="
            ) from None
        if np.isnan(part).any():
            raise UsageError(f"{name}: column {column!r} has missing values; fill them or give transform=")
        parts.append(part)
    try:
        return np.concatenate(parts, axis=1)
    except ValueError:
        raise UsageError(
            f"{name}: columns {', '.join(columns)} have shapes that do not go together; give transform="
        ) from None
