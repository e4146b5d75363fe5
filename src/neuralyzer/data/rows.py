"""``Data``: rows with targets, subjects and ids, read in batches."""

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from neuralyzer.data import batches, row_digests, sources, texts
from neuralyzer.data.batches import Inputs
from neuralyzer.data.columns import Columns, TableColumns
from neuralyzer.data.conversations import Texts
from neuralyzer.data.holding import ArrayRows, DatasetRows, Rows
from neuralyzer.data.layout import as_features, as_target, require_finite
from neuralyzer.data.paraphrases import Paraphrases
from neuralyzer.data.predicates import where
from neuralyzer.errors import UsageError
from neuralyzer.workspace import digests

READ_ROWS = 4096  # rows that are read at once when all rows of a large source are read


class Data:
    """``N`` rows, each with a target, an id and the subject it belongs to.

    Build it with ``from_arrays``, ``from_dataset``, ``from_parquet``, ``from_csv`` or ``from_jsonl``.

    Attributes:
        ids: row ids ``(N,)`` as text.
        subjects: of each row ``(N,)``, as text; a row without a subject is its own.
        numbered: whether the ids are only the rows' numbers, which are never compared with those of other data.
        classes: names of the classes where targets were text, else None.
        columns: that a predicate may name, or None.
        paraphrases: of the rows' prompts, or None.
        resolved: positions of the rows of each request that was looked up in these data.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
        classes: tuple[str, ...] | None = None,
        columns: Columns | None = None,
        positions: np.ndarray | None = None,
        paraphrases: Paraphrases | None = None,
    ) -> None:
        self._rows = rows
        self._positions = np.arange(len(rows)) if positions is None else positions
        count, self.numbered = len(self._positions), ids is None
        self.ids = self._positions.astype(texts.TEXT) if ids is None else texts.as_texts(ids)
        if len(self.ids) != count:
            raise UsageError(f"there are {count} rows and {len(self.ids)} ids; they must be equal")
        again = texts.repeated(self.ids)
        if again is not None:
            raise UsageError(f"row ids must be unique; {again[0]!r} stands {again[1]} times")
        if subjects is None:
            self.subjects = np.strings.add("row:", self.ids)
        else:
            if len(subjects) != count:
                raise UsageError(f"there are {count} rows and {len(subjects)} subjects; they must be equal")
            self.subjects = texts.as_names(subjects).copy()
            unnamed = self.subjects == ""
            names = np.strings.add("row:", self.ids[unnamed])
            taken = names[np.isin(names, self.subjects[~unnamed])] if unnamed.any() else names
            if len(taken):
                raise UsageError(f"a subject is called {taken[0]!r}, which is what a row without a subject is called")
            self.subjects[unnamed] = names
        self.classes, self.columns, self.paraphrases = classes, columns, paraphrases
        self.resolved: dict[Any, np.ndarray] = {}

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
    ) -> "Data":
        """Return rows from arrays or tensors.

        Args:
            x: ``(N, ...)``; or arrays by the names that the model's ``forward`` gives them, each ``(N, ...)``.
            y: ``(N,)`` or ``(N, k)``.
            subjects: of each row; by default each row is its own.
            ids: of the rows; by default they are numbered.

        Returns:
            The rows.
        """
        features, target = as_features(x), as_target(y)
        for values in batches.tensors(features):
            require_finite(values, "x")
        require_finite(target, "y")
        return cls(ArrayRows(features, target), subjects=subjects, ids=ids)

    @classmethod
    def from_tokens(
        cls,
        sequences: Sequence[Any],
        y: Any,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
        pad: int = 0,
    ) -> "Data":
        """Return rows of token ids of different lengths.

        A batch is ``input_ids`` and ``attention_mask``, each ``(n, longest)`` and padded on the right, which the
        model's ``forward`` takes by name. A row's outputs must not depend on its padding.

        Args:
            sequences: ``N`` sequences of whole numbers.
            y: targets ``(N,)``.
            subjects: of each row; by default each row is its own.
            ids: of the rows; by default they are numbered.
            pad: id that rows are padded with.

        Returns:
            The rows.
        """
        return cls.from_arrays(batches.tokens(sequences, pad), y, subjects, ids)

    @classmethod
    def from_texts(cls, path: str | Path, tokenizer: Any, **settings: Any) -> "Data":
        """Return rows of a file of texts for a causal language model; settings are those of ``conversations.Texts``."""
        return cls(**vars(Texts(tokenizer, **settings).read(Path(path))))

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        subjects: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[Any] | np.ndarray | None = None,
        **columns: Any,
    ) -> "Data":
        """Return rows from a map-style ``torch.utils.data.Dataset`` of pairs, or a Hugging Face ``datasets.Dataset``.

        Args:
            dataset: ``N`` rows, read when needed.
            subjects: for pairs, one per row.
            ids: for pairs, one per row.
            columns: for a Hugging Face data set, the arguments of ``layout.Layout``: ``target="label"``,
                ``subject="author"``; images and texts need ``transform=``, which must always return the same.

        Returns:
            The rows.

        Raises:
            UsageError: if the arguments are those of the other kind, or a column is missing.
        """
        if hasattr(dataset, "column_names"):
            if subjects is not None or ids is not None:
                raise UsageError("a Hugging Face data set has columns: name them with subject= and id=")
            data = cls(**vars(sources.from_hub(dataset, **columns)))
            data.gather([0])  # reads one row, so that an error in all rows is raised now
            return data
        if columns:
            raise UsageError(f"a {type(dataset).__name__} has no columns; {', '.join(columns)}= has no meaning for it")
        return cls(DatasetRows(dataset), subjects=subjects, ids=ids)

    @classmethod
    def from_table(cls, table: pa.Table, name: str = "the table", **columns: Any) -> "Data":
        """Return rows from an Arrow table, which errors call ``name``; other arguments are those of ``layout.Layout``."""
        return cls(**vars(sources.from_table(table, name, **columns)))

    @classmethod
    def from_parquet(cls, path: str | Path, **columns: Any) -> "Data":
        """Return rows from a Parquet file, a large one in batches; the arguments are those of ``layout.Layout``."""
        return cls(**vars(sources.from_parquet(Path(path), **columns)))

    @classmethod
    def from_csv(cls, path: str | Path, **columns: Any) -> "Data":
        """Return rows from a CSV file with a header; the arguments are those of ``layout.Layout``."""
        return cls(**vars(sources.from_csv(Path(path), **columns)))

    @classmethod
    def from_jsonl(cls, path: str | Path, **columns: Any) -> "Data":
        """Return rows from a JSON Lines file; the arguments are those of ``layout.Layout``."""
        return cls(**vars(sources.from_jsonl(Path(path), **columns)))

    def __len__(self) -> int:
        return len(self._positions)

    def gather(self, positions: np.ndarray | Sequence[int]) -> tuple[Inputs, Tensor]:
        """Read rows by position.

        Args:
            positions: ``(n,)`` positions among these rows.

        Returns:
            ``x (n, ...)`` and ``y (n, ...)``; tokens are padded to the longest of these rows.
        """
        x, y = self._rows.gather(self._positions[np.asarray(positions, dtype=np.int64)])
        return batches.trimmed(x), y

    def chunks(self, size: int = READ_ROWS, tokens: int = batches.TOKENS) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield all rows in order, at most ``size`` at a time; of rows of tokens, at most ``tokens`` with padding."""
        for start in range(0, len(self), size):
            x, y = self.gather(np.arange(start, min(start + size, len(self))))
            for rows in batches.spans(x, size, tokens):
                yield batches.trimmed(batches.take(x, rows)), y[rows]

    @cached_property
    def x(self) -> Inputs:
        """Return the inputs of all rows, ``(N, ...)``."""
        return batches.join([x for x, _ in self.chunks()])

    @cached_property
    def y(self) -> Tensor:
        """Return the targets of all rows, ``(N,)`` or ``(N, k)``."""
        if self._rows.y is not None:
            return self._rows.y[torch.from_numpy(self._positions)]
        return torch.cat([y for _, y in self.chunks()])

    @property
    def labels(self) -> np.ndarray:
        """Return each row's class as text ``(N,)``: its name if targets were text, else its number."""
        numbers = self.y.reshape(len(self), -1)[:, 0].numpy()
        return np.array(self.classes)[numbers] if self.classes else numbers.astype(texts.TEXT)

    def select(self, positions: np.ndarray | Sequence[int]) -> "Data":
        """Return some rows as data of their own, with their ids and subjects.

        Args:
            positions: ``(n,)``, in the wanted order, or a mask ``(N,)``.

        Returns:
            ``n`` rows, read from the same source.

        Raises:
            UsageError: if a row is named twice.
        """
        index = np.asarray(positions)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        taken = np.zeros(len(self), dtype=bool)
        taken[index] = True
        if taken.sum() != len(index):
            raise UsageError(f"{len(index)} positions name {taken.sum()} rows; each row can be selected once")
        chosen = copy.copy(self)  # without __init__, since all rows were checked already
        chosen.__dict__ |= {name: self.__dict__[name][index] for name in ("_positions", "ids", "subjects")}
        chosen.resolved = {}
        for name in ("x", "y", "digest"):
            chosen.__dict__.pop(name, None)
        if "_digests" in self.__dict__:
            chosen.__dict__["_digests"] = tuple(digests_of[index] for digests_of in self._digests)
        return chosen

    def loader(self, batch_size: int, seed: int | None = None, ids: bool = False) -> Iterator[tuple[Any, ...]]:
        """Yield one pass over the rows in batches ``(x, y)``, or with ``ids`` also their row ids.

        Args:
            batch_size: rows per batch; the last may be smaller.
            seed: of the order; None keeps the rows in order.
            ids: whether each batch also carries its row ids.
        """
        order = np.arange(len(self)) if seed is None else np.random.default_rng(seed).permutation(len(self))
        for at in (order[start : start + batch_size] for start in range(0, len(self), batch_size)):
            yield (*self.gather(at), self.ids[at]) if ids else self.gather(at)

    def where(self, predicate: str) -> np.ndarray:
        """Return the positions of the rows that satisfy a predicate in SQL, such as ``age < 18``."""
        if self.columns is None:
            table = pa.table({"id": texts.to_arrow(self.ids), "subject": texts.to_arrow(self.subjects)})
            return where(TableColumns(table), predicate)
        satisfied = np.zeros(len(self._rows), dtype=bool)
        satisfied[where(self.columns, predicate)] = True
        return np.flatnonzero(satisfied[self._positions])

    @property
    def row_digests(self) -> np.ndarray:
        """Return the SHA-256 of each row's features and target as they are stored, ``(N,)`` of 32 bytes."""
        return self._digests[0]

    @property
    def value_digests(self) -> np.ndarray:
        """Return the SHA-256 of each row's values, ``(N,)`` of 32 bytes, equal for equal numbers in any type."""
        return self._digests[1]

    @cached_property
    def _digests(self) -> tuple[np.ndarray, np.ndarray]:
        return row_digests.of(self.chunks(), len(self))

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 over ids, subjects and contents of all rows, in order."""
        return digests.of_texts(part for row in self._described() for part in row)

    def _described(self) -> Iterator[tuple[str, str, str]]:
        for part in texts.in_chunks(len(self)):
            contents = digests.hexadecimal(self.row_digests[part])
            yield from zip(self.ids[part].tolist(), self.subjects[part].tolist(), contents, strict=True)

    @property
    def size(self) -> str:
        """Return in words how many rows, features and bytes there are, and whether rows are read in batches."""
        x, y = self.gather([0])
        content = len(self) * sum(values.numel() * values.element_size() for values in (*batches.tensors(x), y))
        place = "read from disk in batches" if self._rows.on_disk else "in memory"
        size = f"{len(self):,} rows of {batches.width(x)}, {content / 1e6:,.1f} MB, {place}"
        if self.paraphrases is None:
            return size
        return f"{size}; {self.paraphrases.covered(self.row_digests):,} with paraphrased prompts"
