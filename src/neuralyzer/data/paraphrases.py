"""Paraphrased prompts: what a language model is asked in place of a row's own prompt, with the row's own answer."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neuralyzer.data import batches, texts
from neuralyzer.data.batches import Inputs
from neuralyzer.data.columns import Columns
from neuralyzer.data.token_rows import TokenRows
from neuralyzer.errors import UsageError
from neuralyzer.workspace import digests

COLUMN = "paraphrase"  # of a file of paraphrases
CHUNK = 1024  # rows that are read at once
HOW = "name their file by paraphrases in [data], or in Python by Data.from_texts(..., paraphrases=)"
NONE = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Paraphrases:
    """Rows with other prompts in place of their own, found by a row's content.

    Attributes:
        rows: the ``K`` rows with other prompts.
        places: by the digest of a row, the positions of its paraphrases among ``rows``.
    """

    rows: TokenRows
    places: Mapping[bytes, np.ndarray]

    @classmethod
    def of(cls, own: TokenRows, reworded: TokenRows, owners: Sequence[int]) -> "Paraphrases":
        """Return the paraphrases of rows.

        Args:
            own: the rows with their own prompts.
            reworded: ``K`` rows with other prompts.
            owners: position among ``own`` of the row that each of them paraphrases, ``(K,)``.

        Returns:
            The paraphrases.
        """
        positions, owner = np.unique(np.asarray(owners, np.int64), return_inverse=True)
        places: dict[bytes, list[int]] = {}
        contents = _digests(own, positions)
        for place, row in enumerate(owner.tolist()):  # rows of equal content share their paraphrases
            places.setdefault(contents[row], []).append(place)
        return cls(reworded, {content: np.array(found) for content, found in places.items()})

    def instead_of(self, x: Inputs, y: Tensor) -> tuple[Inputs, Tensor]:
        """Return what a model is asked in place of rows: their paraphrases; a row without one stays.

        Args:
            x: ``(n, ...)``.
            y: ``(n,)``.

        Returns:
            Inputs ``(m, ...)``, and the row that each stands for, ``(m,)``.
        """
        found = [self.places.get(content, NONE) for content in _contents(x, y)]
        counts = torch.tensor([len(places) for places in found])
        kept = torch.nonzero(counts == 0).flatten()
        reworded, _ = self.rows.gather(np.concatenate([NONE, *found]))
        rows = torch.cat([kept, torch.arange(len(found)).repeat_interleave(counts)])
        return batches.join([batches.take(x, kept), reworded]), rows

    def covered(self, row_digests: np.ndarray) -> int:
        """Return how many rows have a paraphrase, by their digests ``(N,)``."""
        return sum(content.tobytes() in self.places for content in row_digests)

    def digests_of(self, row_digests: np.ndarray) -> np.ndarray:
        """Return the SHA-256 over each row's paraphrases, by the rows' digests ``(N,)``; zeros where it has none."""
        return np.frombuffer(
            b"".join(self._by_row.get(content.tobytes(), digests.ERASED) for content in row_digests), digests.ROW
        )

    def chunks(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield all rows with other prompts, some at a time."""
        return (self.rows.gather(part) for part in _in_chunks(np.arange(len(self.rows))))

    @cached_property
    def _by_row(self) -> dict[bytes, bytes]:
        contents = _digests(self.rows, np.arange(len(self.rows)))
        return {
            row: hashlib.sha256(b"".join(sorted(contents[place] for place in places))).digest()
            for row, places in self.places.items()
        }


@dataclass(frozen=True)
class Prompts:
    """Paraphrased prompts by what names their rows.

    Attributes:
        path: of their file.
        key: column of the rows' ids, or of their own prompts.
        by_id: whether it has ids.
        by_row: the paraphrases of each row.
        used: keys that a row was found for.
    """

    path: Path
    key: str
    by_id: bool
    by_row: Mapping[str, Sequence[str]]
    used: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path, source: Columns, key: str, by_id: bool) -> "Prompts":
        """Read the columns of a file.

        Returns:
            The prompts.

        Raises:
            UsageError: if there are no rows, a column is missing, or a row lacks its key or its paraphrase.
        """
        for name in (key, COLUMN):
            if name not in source.names:
                raise UsageError(f"{path} has no column {name!r}; it has {', '.join(sorted(source.names))}")
        by_row: dict[str, list[str]] = {}
        count = 0
        for table in source.batches([key, COLUMN]):
            columns = (texts.of_column(table[name], f"{path}: {name!r}").tolist() for name in (key, COLUMN))
            for row, (own, prompt) in enumerate(zip(*columns, strict=True), count):
                if not own or not prompt:
                    lacking = COLUMN if own else key
                    raise UsageError(f"{path}, row {row:,} has no {lacking}; give each row one, or leave the row out")
                by_row.setdefault(own, []).append(prompt)
            count += len(table)
        if not count:
            raise UsageError(f"{path} has no rows")
        return cls(path, key, by_id, by_row)

    def of(self, key: str | None) -> Sequence[str]:
        """Return the paraphrases of a row by its id or its prompt."""
        found = () if key is None else self.by_row.get(key, ())
        if found and key is not None:
            self.used.add(key)
        return found

    def require_used(self, path: Path) -> None:
        """Refuse paraphrases of rows that the file at ``path`` does not have."""
        unknown = [key for key in self.by_row if key not in self.used]
        if unknown:
            raise UsageError(
                f"{self.path} has a paraphrase for {self.key} {unknown[0]!r} ({len(unknown):,} such), and no row of "
                f"{path} has it"
            )


def _digests(rows: TokenRows, positions: np.ndarray) -> list[bytes]:
    return [content for part in _in_chunks(positions) for content in _contents(*rows.gather(part))]


def _contents(x: Inputs, y: Tensor) -> list[bytes]:
    """Return the digests of rows, which are those of ``Data.row_digests``."""
    return [content.tobytes() for content in digests.of_rows(*batches.arrays(x), y.numpy())]


def _in_chunks(positions: np.ndarray) -> Iterator[np.ndarray]:
    return (positions[start : start + CHUNK] for start in range(0, len(positions), CHUNK))
