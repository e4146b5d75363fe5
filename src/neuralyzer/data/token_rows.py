"""Rows of tokens in a temporary Arrow file, which is mapped into memory and deleted with the process.

The file is deliberately no cache: what outlives the process would be one more copy of the data that has to be erased.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.data.holding import Mapped, TemporaryFolder, no_space
from neuralyzer.errors import StorageError, UsageError

SCHEMA = pa.schema([(batches.IDS, pa.list_(pa.int32())), (batches.TARGETS, pa.list_(pa.int8()))])
LARGEST = np.iinfo(np.int32).max  # token

TokenRow = tuple[Sequence[int], Sequence[int]]  # the tokens, and 1 for each that is a target


class TokenRows(Mapped):
    """Rows of tokens and target marks, read by position as a padded batch; a row's target is how many it has to learn.

    They take five bytes a token on the disk. In memory, a row takes the four bytes of its target.
    """

    on_disk = True
    _views = "_parts"

    def __init__(self, folder: TemporaryFolder, y: Tensor) -> None:
        self._folder, self.y = folder, y
        self._map()

    def __len__(self) -> int:
        return len(self.y)

    def gather(self, positions: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Read rows as ``input_ids``, ``attention_mask`` and ``target_mask``, each ``(n, longest)``."""
        parts = np.searchsorted(self._firsts, positions, side="right") - 1
        within = (positions - self._firsts[parts]).tolist()
        rows = [self._row(part, row) for part, row in zip(parts.tolist(), within, strict=True)]
        lengths = np.array([len(ids) for ids, _ in rows], dtype=np.int64)
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]

        def padded(values: Sequence[np.ndarray]) -> Tensor:
            whole = np.zeros(mask.shape, dtype=np.int64)
            whole[mask] = np.concatenate([np.empty(0, np.int8), *values])
            return torch.from_numpy(whole)

        x = {
            batches.IDS: padded([ids for ids, _ in rows]), batches.MASK: torch.from_numpy(mask.astype(np.int64)),
            batches.TARGETS: padded([marks for _, marks in rows]),
        }  # fmt: skip
        return x, self.y[torch.as_tensor(positions, dtype=torch.long)]

    def _row(self, part: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        offsets, ids, marks = self._parts[part]
        own = slice(offsets[row], offsets[row + 1])
        return ids[own], marks[own]

    def _map(self) -> None:
        path = self._folder.path / TokenWriter.NAME
        try:
            mapped = pa.memory_map(str(path))
        except FileNotFoundError:
            raise StorageError(
                f"{path}, which has the tokens, is not there; where several machines work together, set TMPDIR to a "
                "folder that they share"
            ) from None
        with pa.ipc.open_file(mapped) as file:
            parts = [file.get_batch(number) for number in range(file.num_record_batches)]
        columns = [(part[batches.IDS], part[batches.TARGETS]) for part in parts]
        # NumPy's views of the file: Arrow's own reading by position takes far longer.
        self._parts = [
            (ids.offsets.to_numpy(), ids.values.to_numpy(), marks.values.to_numpy()) for ids, marks in columns
        ]
        self._firsts = np.cumsum([0, *map(len, parts)])[:-1]


class TokenWriter:
    """Writes rows of tokens to a temporary Arrow file, some at a time."""

    NAME = "tokens.arrow"

    def __init__(self) -> None:
        self._folder, self._counts = TemporaryFolder(), [np.empty(0, np.float32)]
        self._path = self._folder.path / self.NAME
        self._file = pa.ipc.new_file(str(self._path), SCHEMA)

    def append(self, rows: Sequence[TokenRow]) -> None:
        """Append rows.

        Raises:
            UsageError: if a token is no whole number from 0 to 2,147,483,647.
            StorageError: if the disk is full.
        """
        if not rows:
            return
        ids = batches.joined_tokens([ids for ids, _ in rows])
        if ids.max() > LARGEST:
            raise UsageError(f"tokens must be {LARGEST:,} at most, as a tokenizer gives them")
        offsets = np.cumsum([0, *(len(ids) for ids, _ in rows)], dtype=np.int32)
        marks = np.concatenate([np.asarray(marks, dtype=np.int8) for _, marks in rows])
        columns = [pa.ListArray.from_arrays(offsets, values) for values in (ids.astype(np.int32), marks)]
        # The first token follows nothing, so that nothing predicts it.
        self._counts.append(np.array([sum(marks[1:]) for _, marks in rows], dtype=np.float32))
        try:
            self._file.write_batch(pa.record_batch(columns, SCHEMA))
        except OSError as error:
            raise StorageError(no_space(self._path, error)) from error

    def rows(self) -> TokenRows:
        """Close the file and return its rows.

        Returns:
            The rows.

        Raises:
            StorageError: if the disk is full.
        """
        try:
            self._file.close()
        except OSError as error:
            raise StorageError(no_space(self._path, error)) from error
        return TokenRows(self._folder, torch.from_numpy(np.concatenate(self._counts)))
