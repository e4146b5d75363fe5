"""The roles of a table's columns, and how a batch of its rows becomes features and targets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch
from torch import Tensor

from neuralyzer.data import batches, texts
from neuralyzer.data.batches import Inputs
from neuralyzer.errors import UsageError


@dataclass(frozen=True)
class Layout:
    """The role of each column.

    Attributes:
        target: column of the targets; text becomes class numbers in the order of ``classes``, or sorted.
        subject: column of the subject ids; without it each row is its own subject.
        id: column of the row ids; without it rows are numbered.
        features: columns of the features; by default every other column. Lists of equal length become one more axis.
        tokens: column of lists of token ids of different lengths, in place of ``features``.
        transform: makes the features ``(n, ...)`` from a table of ``n`` rows with all columns, in place of
            ``features``. It is called with a small file at once and with a large one in batches, so a row's features
            must not depend on the other rows.
        classes: names of the classes, where targets are text.
        subject_key: makes the name by which a subject is known from the one that is written, such as ``str.casefold``;
            by default names are compared exactly as they are written.
    """

    target: str
    subject: str | None = None
    id: str | None = None
    features: Sequence[str] | None = None
    tokens: str | None = None
    transform: Callable[[pa.Table], Any] | None = None
    classes: Sequence[str] | None = None
    subject_key: Callable[[str], str] | None = None

    def check(self, names: Sequence[str], what: str) -> None:
        """Check that the columns exist.

        Args:
            names: the existing columns.
            what: name of their table in an error.

        Raises:
            UsageError: if one is missing, or there are no features.
        """
        again = sorted({name for name in names if list(names).count(name) > 1})
        if again:
            raise UsageError(f"{what} has several columns called {', '.join(map(repr, again))}; rename them")
        for column in (self.target, self.subject, self.id, self.tokens, *(self.features or ())):
            if column is not None and column not in names:
                raise UsageError(f"{what} has no column {column!r}; it has {', '.join(names)}")
        if self.transform is None and not self.features_among(names):
            raise UsageError(f"{what} has no feature column besides target, subject and id")

    def features_among(self, names: Iterable[str]) -> list[str]:
        """Return the columns of the features."""
        if self.tokens is not None:
            return [self.tokens]
        return list(self.features or [name for name in names if name not in (self.target, self.subject, self.id)])

    def keyed(self, names: np.ndarray) -> np.ndarray:
        """Return the name by which a subject is known.

        Args:
            names: ``(n,)`` as they are written; empty where one is missing.

        Returns:
            ``(n,)`` names by which subjects are known; empty where one is missing.

        Raises:
            UsageError: if ``subject_key`` fails or returns no text.
        """
        return names if self.subject_key is None else all_keyed(self.subject_key, names)

    @property
    def known(self) -> list[str]:
        """Return the columns of target, subject and id."""
        return [name for name in (self.target, self.subject, self.id) if name is not None]

    def features_of(self, table: pa.Table, what: str) -> Inputs:
        """Return the features of a batch of rows.

        Args:
            table: ``n`` rows.
            what: name of the rows in an error.

        Returns:
            ``(n, ...)``.

        Raises:
            UsageError: if they are not numbers and there is no ``transform``, or it returns something else.
        """
        if self.tokens is not None:
            return _tokens(table[self.tokens], f"{what}: column {self.tokens!r}")
        if self.transform is None:
            return as_features(_stack(table, self.features_among(table.column_names), what))
        features = as_features(self.transform(table))
        if any(values.ndim == 0 or len(values) != len(table) for values in batches.tensors(features)):
            raise UsageError(
                f"{what}: transform made features of {_shape(features)} of {len(table)} rows; it must give one entry "
                "a row"
            )
        return features


def all_keyed(key: Callable[[str], str], names: np.ndarray) -> np.ndarray:
    """Return ``keyed`` of each name ``(n,)``, called once for equal names; empty where a name is."""
    written, place = texts.coded(names)
    by_key = [keyed(key, name) if name else "" for name in written]
    known: np.ndarray = np.array(by_key, texts.TEXT)[place]
    return known


def keyed(key: Callable[[str], str], name: str) -> str:
    """Return the name by which a subject is known.

    Args:
        key: the user's function.
        name: as it is written.

    Returns:
        The result of the function.

    Raises:
        UsageError: if the user's function fails or returns no text.
    """
    try:
        keyed_name = key(name)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"subject_key= fails on {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(keyed_name, str):
        raise UsageError(f"subject_key= makes a {type(keyed_name).__name__} of {name!r}; it must give text")
    return keyed_name


def _shape(features: Inputs) -> str:
    return f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else batches.described(features)


def as_features(x: Any) -> Inputs:
    """Return features as tensors: floats, booleans and bytes as float32; other integers (tokens) stay."""
    if isinstance(x, Mapping):
        return batches.as_mapping(x, lambda values: plain_features(_copied(values)))
    return plain_features(_copied(x))


def _tokens(column: pa.ChunkedArray, what: str) -> Inputs:
    if not is_list(column.type) or not pa.types.is_integer(column.type.value_type):
        raise UsageError(f"{what} holds {column.type}, no lists of token ids; make them with a tokenizer")
    try:
        return batches.tokens(column.to_pylist())
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from error


def as_target(y: Any) -> Tensor:
    """Return targets as a tensor: integers as int64 class numbers, floats as float32."""
    return plain_target(_copied(y))


def plain_features(x: Tensor) -> Tensor:
    """Return rows of a tensor in the types of ``as_features``."""
    return x.float() if x.is_floating_point() or x.dtype in (torch.bool, torch.uint8) else x


def plain_target(y: Tensor) -> Tensor:
    """Return targets of a tensor in the types of ``as_target``."""
    return y.float() if y.is_floating_point() else y.long()


def _copied(values: Any) -> Tensor:
    """Return a tensor that shares no memory with ``values``, which may be a read-only array."""
    return values.detach().clone() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))


def require_finite(values: Tensor, what: str, start: int = 0) -> None:
    """Refuse NaN and infinity.

    Args:
        values: ``(n, ...)``.
        what: name of the values in an error.
        start: position of the first row.

    Raises:
        UsageError: if a row has such a value.
    """
    if not values.is_floating_point() or not len(values):
        return
    wrong = ~torch.isfinite(values).reshape(len(values), -1).all(1)
    if wrong.any():
        raise UsageError(
            f"{what}: row {start + int(wrong.nonzero()[0]):,} has NaN or an infinite value ({int(wrong.sum()):,} "
            "such rows); fill it in or remove the row"
        )


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _stack(table: pa.Table, columns: Sequence[str], name: str) -> np.ndarray:
    parts = []
    for column in columns:
        values = table[column].combine_chunks()
        if pa.types.is_temporal(values.type):
            raise UsageError(
                f"{name}: column {column!r} holds dates or times ({values.type}); leave it out with features= or make "
                "numbers of it with transform="
            )
        try:
            if is_list(values.type):
                part = np.array(values.to_pylist(), dtype=np.float32)
            else:
                with np.errstate(over="ignore"):  # too large values become infinite and are refused below
                    part = values.to_numpy(zero_copy_only=False).astype(np.float32)[:, None]
        except (ValueError, TypeError):
            way = (
                "name it with tokens= if these are token ids" if is_list(values.type) else "leave it out with features="
            )
            raise UsageError(f"{name}: column {column!r} holds no plain numbers; {way} or give transform=") from None
        if not np.isfinite(part).all():
            wrong = ~np.isfinite(part).reshape(len(part), -1).all(1)
            raise UsageError(
                f"{name}: column {column!r} has missing values or infinite ones, row {np.flatnonzero(wrong)[0]:,} the "
                f"first of {wrong.sum():,}; fill them in, or give transform="
            )
        parts.append(part)
    try:
        return np.concatenate(parts, axis=1)
    except ValueError:
        raise UsageError(
            f"{name}: columns {', '.join(columns)} have shapes that do not go together; give transform="
        ) from None
