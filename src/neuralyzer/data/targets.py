"""The targets of a table: numbers, or names of classes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch
from torch import Tensor

from neuralyzer.data.layout import Layout, as_target, is_list, require_finite
from neuralyzer.errors import UsageError


class Targets:
    """Targets, collected batch by batch; text becomes class numbers once all of it is known."""

    def __init__(self, layout: Layout) -> None:
        self._column, self._given = layout.target, layout.classes
        self._numbers = {name: number for number, name in enumerate(layout.classes or ())}
        self._parts: list[np.ndarray] = []
        self._text = False

    def read(self, table: pa.Table, what: str) -> None:
        """Add a batch.

        Args:
            table: with the column of the targets.
            what: name of the batch in an error.

        Raises:
            UsageError: if a target is missing, or is neither a number nor the name of a class.
        """
        targets = table[self._column].combine_chunks()
        if pa.types.is_dictionary(targets.type):
            targets = targets.dictionary_decode()
        kind = targets.type
        self._text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        missing = targets.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        if self._text:
            missing = missing | np.isin(_stripped(targets), "")
        if missing.any():
            first = np.flatnonzero(missing)[0]
            raise UsageError(
                f"{what}: {missing.sum()} rows have no {self._column!r}, row {first:,} the first; every training row "
                "needs a target: remove them or fill it in"
            )
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
        """Return the targets of all batches ``(N,)`` or ``(N, k)``, and the names of the classes."""
        y = np.concatenate(self._parts)
        if not self._text or self._given is not None:
            return as_target(y), None if self._given is None else tuple(self._given)
        names = sorted(self._numbers)
        rank = np.empty(len(names), np.int64)
        rank[[self._numbers[name] for name in names]] = np.arange(len(names))
        return as_target(rank[y]), tuple(names)


def _stripped(targets: pa.Array) -> np.ndarray:
    plain = pyarrow.compute.utf8_trim_whitespace(targets.cast(pa.string()))
    return np.asarray(pyarrow.compute.fill_null(plain, "").to_numpy(zero_copy_only=False))


def _numbers(targets: pa.Array, column: str, name: str) -> np.ndarray:
    """Return targets that are numbers, or lists of equal length of numbers."""
    if pa.types.is_temporal(targets.type):
        raise UsageError(
            f"{name}: target {column!r} holds dates or times ({targets.type}); make numbers or text of them"
        )
    try:
        y = np.array(targets.to_pylist()) if is_list(targets.type) else targets.to_numpy(zero_copy_only=False)
    except ValueError:
        y = np.array(None)
    if y.dtype.kind not in "biuf":
        raise UsageError(f"{name}: target {column!r} is neither numbers nor text, but {targets.type}")
    require_finite(torch.from_numpy(np.array(y)), f"{name}: target {column!r}")
    return y
