"""The pool index: the rows and subjects that a pool was made of, and which of them were erased since."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from neuralyzer.data import texts
from neuralyzer.data.paraphrases import HOW
from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError, UsageError
from neuralyzer.references.signal_values import Flags, Indices
from neuralyzer.workspace import atomic, digests

CLOSED = b"closed cases"  # key of the Parquet file's metadata


@dataclass(frozen=True, eq=False)
class PoolIndex:
    """The pool's rows, in the order in which they are measured.

    Attributes:
        ids: row ids ``(N,)``; empty where the row was erased.
        digests: content digests ``(N,)``; ``digests.ERASED`` where the row was erased.
        owner: each row's subject ``(N,)``.
        group: each row's group as a further subject ``(N,)``, or None.
        subjects: number of subjects, groups included.
        closed: cases whose rows were erased.
        paraphrases: digests of the rows' paraphrases ``(N,)``, where references are read on them; else None.
    """

    ids: np.ndarray
    digests: np.ndarray
    owner: Indices
    group: Indices | None
    subjects: int
    closed: tuple[str, ...] = ()
    paraphrases: np.ndarray | None = None

    @classmethod
    def of(cls, data: Data, groups: tuple[str, ...], paraphrased: bool = False) -> "PoolIndex":
        """Return the index of training rows, with their paraphrases where references are read on them.

        Returns:
            The index.

        Raises:
            UsageError: if a group is asked for that is not known.
        """
        names, owner = texts.coded(data.subjects)
        group, count = None, len(names)
        if groups:
            if groups != ("class",):
                raise UsageError(f"groups are {groups}; only ('class',) is known")
            labels, of_label = texts.coded(texts.as_texts(data.labels))
            group, count = of_label + len(names), len(names) + len(labels)
        paraphrases = _paraphrases(data).copy() if paraphrased else None
        return cls(data.ids.copy(), data.row_digests.copy(), owner, group, count, paraphrases=paraphrases)

    @classmethod
    def read(cls, root: Path) -> "PoolIndex":
        """Return the index of a pool's folder."""
        try:
            table = parquet.read_table(root / "rows.parquet")
        except (OSError, pa.ArrowException) as error:
            raise ReferencesError(
                f"{root / 'rows.parquet'} is missing or truncated; make the references again"
            ) from error
        closed = tuple(json.loads((table.schema.metadata or {}).get(CLOSED, b"[]")))
        group = table["group"].to_numpy() if "group" in table.column_names else None
        owner = table["owner"].to_numpy()
        subjects = int((owner if group is None else group).max()) + 1
        paraphrases = _contents(table["paraphrases"]) if "paraphrases" in table.column_names else None
        return cls(
            texts.of_column(table["id"]), _contents(table["digest"]), owner, group, subjects, closed, paraphrases
        )

    def write(self, root: Path) -> None:
        """Write the index to a pool's folder."""
        columns = {"id": texts.to_arrow(self.ids), "digest": _column(self.digests), "owner": self.owner}
        if self.paraphrases is not None:
            columns["paraphrases"] = _column(self.paraphrases)
        if self.group is not None:
            columns["group"] = self.group
        table = pa.table(columns).replace_schema_metadata({CLOSED: json.dumps(self.closed)})
        atomic.write_with(root / "rows.parquet", lambda part: parquet.write_table(table, part))

    @property
    def groups(self) -> bool:
        """Return whether rows belong to groups besides their subject."""
        return self.group is not None

    def groups_of(self, rows: Data, data: Data, places: Indices) -> Indices | None:
        """Return the group that other rows would belong to, as a subject; None where the index has no groups.

        Args:
            rows: such as a holdout's, ``N'`` of them.
            data: rows of the index.
            places: positions of these in the index.

        Returns:
            ``(N',)``; -1 where none of ``data`` is of a row's group.
        """
        if self.group is None:
            return None
        known = dict(zip(texts.as_texts(data.labels).tolist(), self.group[places].tolist(), strict=True))
        return np.array([known.get(label, -1) for label in texts.as_texts(rows.labels).tolist()])

    @cached_property
    def positions(self) -> list[Indices]:
        """Return each subject's rows, ``S`` arrays of positions in the index."""
        if self.group is not None:
            groups = _by_subject(self.group, self.subjects)
            return [a if len(a) else b for a, b in zip(self.owned, groups, strict=True)]
        return self.owned

    @cached_property
    def owned(self) -> list[Indices]:
        """Return each subject's rows as ``positions`` does, but none for groups: rows are relearned by owner."""
        return _by_subject(self.owner, self.subjects)

    def held(self, keep: Flags) -> Flags:
        """Return which member held which row, ``(M, N)``, from which member kept which subject, ``(M, S)``."""
        held = keep[:, self.owner]
        return held & keep[:, self.group] if self.group is not None else held

    def places(self, data: Data) -> Indices:
        """Return the position of each row of ``data`` in the index.

        Returns:
            Positions ``(N',)``.

        Raises:
            ReferencesError: if the data is not the pool's data less the erased rows, or has other paraphrases.
        """
        left = np.flatnonzero(self.ids != "")
        at = texts.places(data.ids, self.ids[left])
        missing = data.ids[at < 0]
        if len(missing):
            raise ReferencesError(
                f"these references were made for other data: they know no row {missing[0]!r} "
                f"({len(missing)} such rows); make new ones"
            )
        places: Indices = left[at]
        changed = self.digests[places] != data.row_digests
        if changed.any():
            raise ReferencesError(
                f"these references were made for other data: row {str(data.ids[changed][0])!r} has changed since "
                f"({int(changed.sum())} such rows); make new ones"
            )
        if self.paraphrases is not None:
            other = self.paraphrases[places] != _paraphrases(data)
            if other.any():
                raise ReferencesError(
                    f"these references were read on other paraphrases: those of row {str(data.ids[other][0])!r} have "
                    f"changed since ({int(other.sum())} such rows); restore their file, or make new references"
                )
        lacking = len(left) - len(places)
        if lacking:
            raise ReferencesError(
                f"these references were made for other data: {lacking} of their rows are missing and were never erased"
            )
        return places

    def present(self, places: Indices) -> list[Indices]:
        """Return each subject's rows as positions in data whose rows are at ``places`` of the index."""
        at = np.full(len(self.owner), -1)
        at[places] = np.arange(len(places))
        return [np.sort(at[rows][at[rows] >= 0]) for rows in self.positions]

    def removed_subjects(self, data: Data, positions: Indices) -> set[int]:
        """Return the subjects and groups that would have no row left in ``data`` without those at ``positions``."""
        present = self.present(self.places(data))
        return {subject for subject, rows in enumerate(present) if len(rows) and np.isin(rows, positions).all()}

    def erase(self, places: Indices, cases: Sequence[str], root: Path) -> None:
        """Take rows off the index for good: neither id nor digest stays. With the same write their cases are closed."""
        self.ids[places] = ""
        for of_rows in (self.digests, *([] if self.paraphrases is None else [self.paraphrases])):
            of_rows[places] = digests.ERASED
        replace(self, closed=(*self.closed, *cases)).write(root)


def _paraphrases(data: Data) -> np.ndarray:
    """Return the digests of the rows' paraphrases, ``(N,)``."""
    if data.paraphrases is None:
        raise ReferencesError(f"these references were read on paraphrased prompts; {HOW}")
    return data.paraphrases.digests_of(data.row_digests)


def _column(contents: np.ndarray) -> pa.Array:
    return pa.array(contents.tolist(), pa.binary(digests.ROW.itemsize))


def _contents(column: pa.ChunkedArray) -> np.ndarray:
    """Return the rows' digests; older pools have them in hexadecimal."""
    values = column.to_pylist()
    if pa.types.is_string(column.type):
        return digests.of_hex(values)
    return np.frombuffer(bytearray(b"".join(values)), digests.ROW)  # a bytearray, since erasing writes to it


def _by_subject(owner: Indices, subjects: int) -> list[Indices]:
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(subjects + 1))
    return [order[bounds[s] : bounds[s + 1]] for s in range(subjects)]
