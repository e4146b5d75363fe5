"""The holders of rows: in memory, in a memory-mapped temporary file, in a Hugging Face data set, in pairs."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.layout import plain_features, plain_target
from neuralyzer.errors import StorageError, UsageError


class Rows(Protocol):
    """A source of rows that can be read by position."""

    on_disk: bool

    @property
    def y(self) -> Tensor | None:
        """Return all targets, if they are in memory."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def gather(self, positions: np.ndarray) -> tuple[Inputs, Tensor]:
        """Read ``n`` rows: ``x (n, ...)`` and ``y (n, ...)``."""


class ArrayRows:
    """Rows in memory."""

    on_disk = False

    def __init__(self, x: Inputs, y: Tensor) -> None:
        if batches.count(x) != len(y):
            raise UsageError(f"x has {batches.count(x)} rows and y has {len(y)}; they must be equal")
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def gather(self, positions: np.ndarray) -> tuple[Inputs, Tensor]:
        """Index inputs and targets."""
        index = torch.as_tensor(positions, dtype=torch.long)
        return batches.take(self.x, index), self.y[index]


class DatasetRows:
    """Rows of a map-style ``torch.utils.data.Dataset`` of pairs ``(x, y)``, read when needed."""

    on_disk = True
    y = None

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def gather(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read the pairs one by one and stack them.

        Args:
            positions: ``(n,)``.

        Returns:
            ``x (n, ...)`` and ``y (n, ...)``.

        Raises:
            UsageError: if a row is no pair, or rows have different shapes.
        """
        pairs = [self._pair(int(position)) for position in positions]
        for what, values in (("features", [x for x, _ in pairs]), ("targets", [y for _, y in pairs])):
            other = next((place for place, value in enumerate(values) if value.shape != values[0].shape), None)
            if other is not None:
                raise UsageError(
                    f"row {int(positions[other])} of the data set has {what} of shape {tuple(values[other].shape)} and row "
                    f"{int(positions[0])} of {tuple(values[0].shape)}; rows of different lengths are not supported: pad them"
                )
        x, y = torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
        return plain_features(x), plain_target(y)

    def _pair(self, position: int) -> tuple[Tensor, Tensor]:
        row = self.dataset[position]
        if isinstance(row, dict):
            raise UsageError(
                f"row {position} of the data set is a dict of {', '.join(map(str, row))}; give a datasets.Dataset "
                "with target=, or make pairs (x, y) of its rows"
            )
        if not isinstance(row, (tuple, list)) or len(row) != 2:
            raise UsageError(
                f"row {position} of the data set is a {type(row).__name__}, neither a pair (x, y) nor a dict"
            )
        return torch.as_tensor(row[0]), torch.as_tensor(row[1])


class TableRows:
    """Rows whose features are made of a ``datasets.Dataset`` in Arrow format when needed."""

    on_disk = True

    def __init__(self, dataset: Any, features: Callable[[pa.Table], Inputs], y: Tensor) -> None:
        self.dataset, self.features, self.y = dataset, features, y

    def __len__(self) -> int:
        return len(self.y)

    def gather(self, positions: np.ndarray) -> tuple[Inputs, Tensor]:
        """Read part of the table and make its features."""
        # The whole table is a view of the files. A data set that was shuffled or selected from has no such view and is
        # read row by row, which is slower; flatten_indices() helps.
        whole = self._whole
        part = self.dataset[positions.tolist()] if whole is None else whole.take(pa.array(positions))
        return self.features(part), self.y[torch.as_tensor(positions, dtype=torch.long)]

    @cached_property
    def _whole(self) -> pa.Table | None:
        return self.dataset[:] if getattr(self.dataset, "_indices", None) is None else None

    def __getstate__(self) -> dict[str, Any]:
        # The data set is pickled as the names of its files; its table would be pickled with all of its content.
        return {name: value for name, value in self.__dict__.items() if name != "_whole"}


class Mapped:
    """What is read from a mapped file. Another process maps the file anew: views would be pickled with all content."""

    _views: ClassVar[str]  # attribute that has them

    def _map(self) -> None:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != self._views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


class MappedRows(Mapped):
    """Rows whose features are in a temporary file, which is deleted with the process; targets are in memory."""

    on_disk = True
    _views = "_x"

    def __init__(self, spool: "Spool", y: Tensor, unchanged: Callable[[], None]) -> None:
        self._spool, self.y, self._unchanged = spool, y, unchanged
        self._map()

    def __len__(self) -> int:
        return len(self.y)

    def gather(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read from the temporary file; refuse if the source file has changed."""
        self._unchanged()
        return torch.from_numpy(self._x[positions]), self.y[torch.as_tensor(positions, dtype=torch.long)]

    def _map(self) -> None:
        self._x = np.memmap(self._spool.path, self._spool.dtype, mode="r", shape=(len(self.y), *self._spool.shape))


class TemporaryFolder:
    """A folder that is deleted with this object by the process that made it.

    Attributes:
        path: of the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="neuralyzer-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def no_space(path: Path, error: OSError) -> str:
    """Return why a temporary file cannot be written, and what to do."""
    return f"cannot write {path}: {error.strerror or error}; free space or set TMPDIR to a larger disk"


class Spool:
    """A temporary file of equal rows, written in batches and deleted with this object by the process that made it.

    Attributes:
        path: of the file.
        dtype: of a row.
        shape: of a row.
    """

    def __init__(self) -> None:
        self._folder = TemporaryFolder()
        self.path = self._folder.path / "features"
        self.dtype, self.shape = np.dtype(np.float32), tuple[int, ...]()

    def append(self, rows: np.ndarray, what: str) -> None:
        """Append rows.

        Args:
            rows: ``(n, ...)``.
            what: name of the rows in an error.

        Raises:
            UsageError: if they are of another shape or type than those before.
            StorageError: if the disk is full.
        """
        kind = (rows.dtype, rows.shape[1:])
        if not self.path.exists():
            self.dtype, self.shape = kind
        elif kind != (self.dtype, self.shape):
            raise UsageError(
                f"{what}: features are {rows.dtype} of shape {rows.shape[1:]} and were {self.dtype} of shape "
                f"{self.shape} before; all rows must be alike"
            )
        try:
            with self.path.open("ab") as file:
                file.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise StorageError(no_space(self.path, error)) from error
