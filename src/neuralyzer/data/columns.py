"""The columns of the table that rows came from, read in batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from neuralyzer.errors import DataChangedError, UnreadableError, first_line

BATCH = 65536  # rows read at once from a file
BUFFER = 1 << 20  # bytes; without a buffer, Arrow keeps all columns of every row group that it has read


class Columns(Protocol):
    """Named columns of equal length, of which only some rows are in memory at a time."""

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""

    def batches(self, wanted: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, of the columns ``wanted`` or all."""


@dataclass(frozen=True)
class TableColumns:
    """A table in memory, read as one batch."""

    table: pa.Table

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        return list(self.table.column_names)

    def batches(self, wanted: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the whole table."""
        yield self.table if wanted is None else self.table.select(list(wanted))


@dataclass(frozen=True)
class FileColumns(ABC):
    """A file that must not change after it was opened.

    Attributes:
        path: of the file.
        seen: its size, and the time when it was last written.
    """

    path: Path
    seen: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", _stamp(self.path))

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Return the columns' names."""

    @abstractmethod
    def tables(self, wanted: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield all rows in order, as this kind of file is read."""

    def batches(self, wanted: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, of the columns ``wanted`` or all.

        Yields:
            Tables of about ``BATCH`` rows; the last may be smaller.

        Raises:
            DataChangedError: if the file has changed since it was opened.
            UnreadableError: if it is damaged.
        """
        self.unchanged()
        try:
            yield from self.tables(wanted)
        except (OSError, pa.ArrowException) as error:
            self.unchanged()
            raise UnreadableError(f"{self.path} cannot be read ({first_line(error)}); it may be truncated") from error
        self.unchanged()

    def unchanged(self) -> None:
        """Check that the file is the one that was opened.

        Raises:
            DataChangedError: if it is not.
        """
        try:
            now = _stamp(self.path)
        except OSError:
            raise DataChangedError(f"{self.path} is gone since it was opened; restore it and open it again") from None
        if now != self.seen:
            raise DataChangedError(
                f"{self.path} has changed since it was opened ({self.seen[0]:,} bytes then, {now[0]:,} now); restore "
                "it, or open it again and begin anew"
            )


@dataclass(frozen=True)
class ParquetColumns(FileColumns):
    """A Parquet file."""

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        return list(parquet.read_schema(self.path).names)

    def tables(self, wanted: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield batches of ``BATCH`` rows."""
        with parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=BUFFER) as file:
            for batch in file.iter_batches(BATCH, columns=None if wanted is None else list(wanted)):
                yield pa.Table.from_batches([batch])


@dataclass(frozen=True)
class TextColumns(FileColumns):
    """A CSV or JSON Lines file, whose types are those of its first rows.

    Attributes:
        opened: returns a reader of batches from the file's path.
    """

    opened: Callable[[Path], Any]

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        with self.opened(self.path) as reader:
            return list(reader.schema.names)

    def tables(self, wanted: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield batches of as many rows as a block of the file has."""
        with self.opened(self.path) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                yield table if wanted is None else table.select(list(wanted))


@dataclass(frozen=True)
class HubColumns:
    """A ``datasets.Dataset``, whose tables are on the disk."""

    dataset: Any

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        return list(self.dataset.column_names)

    def batches(self, wanted: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, of the columns ``wanted`` or all."""
        yield from self.arrow(wanted).iter(batch_size=BATCH)

    def arrow(self, wanted: Sequence[str] | None) -> Any:
        """Return the data set with the columns ``wanted`` or all, whose rows are Arrow tables."""
        chosen = self.dataset if wanted is None else self.dataset.select_columns(list(wanted))
        return chosen.with_format("arrow")


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
