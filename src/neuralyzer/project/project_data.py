"""The rows of a project: training rows, holdout, a claimant's rows, and further tables that are searched."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.models.named import NamedFunction
from neuralyzer.registry import manifests, tables
from neuralyzer.registry.manifests import DatasetVersion
from neuralyzer.workspace import digests

READERS = {".parquet": Data.from_parquet, ".csv": Data.from_csv, ".jsonl": Data.from_jsonl, ".json": Data.from_jsonl}
OF_CSV = ("separator", "encoding")  # keys that only CSV files need


@dataclass(frozen=True)
class ProjectData:
    """The tables described in ``[data]``.

    Attributes:
        root: folder that paths are relative to.
        table: the keys of ``[data]``.
    """

    root: Path
    table: dict[str, Any]

    @cached_property
    def training(self) -> Data:
        """Return the training rows in the file."""
        if "tokenizer" in self.table:
            paraphrases = self.table.get("paraphrases")
            return self._texts(self.table["train"], paraphrases=paraphrases and self.root / paraphrases)
        columns = self._columns("target", "id", "features", "tokens", "classes")
        return self._read(self.table["train"], transform=self.transform, **self._whose, **columns)

    @cached_property
    def holdout(self) -> Data | None:
        """Return the holdout, if there is one; it needs no column of subjects."""
        if not self.table.get("holdout"):
            return None
        return self._holdout()

    def claimed(self, path: Path) -> Data:
        """Return a claimant's rows, by the training rows' columns; subject and id columns may be missing."""
        if "tokenizer" in self.table:
            return self._texts(path, lenient=True)
        return self._read(path, target=self.table["target"], **self._named, **self._seen(self.training))

    @cached_property
    def whole_holdout(self) -> Data | None:
        """Return the holdout with its subjects, if the file has them."""
        holdout, whose = self.holdout, self._whose
        if (
            "tokenizer" in self.table
            or holdout is None
            or not whose
            or holdout.columns is None
            or whose["subject"] not in holdout.columns.names
        ):
            return holdout
        return self._holdout(**whose)

    def _holdout(self, **whose: Any) -> Data:
        if "tokenizer" in self.table:
            return self._texts(self.table["holdout"], lenient=True)  # with its subjects, if the file has them
        columns = self._columns("target", "id") | self._named | whose
        return self._read(self.table["holdout"], **self._seen(self.training), **columns)

    @cached_property
    def searched(self) -> tuple[DatasetVersion, ...]:
        """Return holdout and further tables, to be searched for a subject as the training rows are."""
        versions = []
        if self.whole_holdout is not None:
            versions.append(manifests.unregistered(self.table["holdout"], self.whole_holdout, role="holdout"))
        for described in self.table.get("also", ()):
            entry = dict(described)
            path = self.root / entry.pop("path")
            versions.append(tables.table(path, key=self.subject_key, **(self._text_of(path) | entry)))
        return tuple(versions)

    def known_by(self, request: ErasureRequest) -> ErasureRequest:
        """Return a request with the names by which subjects are known."""
        return request.known_by(self.subject_key)

    @cached_property
    def transform(self) -> Callable[..., Any] | None:
        """Return the function that makes features of a table of rows, if the file names one."""
        name = self.table.get("transform")
        return None if name is None else NamedFunction(name, self.root, "transform")

    @cached_property
    def subject_key(self) -> Callable[[str], str] | None:
        """Return the function that makes a subject's name, if the file names one."""
        name = self.table.get("subject_key")
        return None if name is None else NamedFunction(name, self.root, "subject_key")

    @cached_property
    def _whose(self) -> dict[str, Any]:
        """Return the column of subjects, or of the key by which another table names them, and the function of names."""
        described = self.table.get("subject_table")
        if described is None:
            return self._columns("subject") | ({"subject_key": self.subject_key} if self.subject_key else {})
        if "subject" in self.table:
            raise UsageError("give subject or subject_table, not both: one says whose a row is")
        entry = dict(described)
        path = self.root / entry.pop("path")
        names = tables.SubjectTable.read(path, **(self._text_of(path) | entry))
        return {
            "subject": described["key"],
            "subject_key": names if self.subject_key is None else _Both(names, self.subject_key),
        }

    @property
    def _named(self) -> dict[str, Any]:
        """Return the training rows' classes, so that a label has the same number in every file."""
        return {"classes": self.training.classes}

    def _seen(self, data: Data) -> dict[str, Any]:
        """Return the arguments for features: the training rows' columns, or ``transform``."""
        if self.transform is not None:
            return {"transform": self.transform}
        if "tokens" in self.table:
            return self._columns("tokens")
        known = {self.table.get("target"), self.table.get("id"), self._whose.get("subject")}
        columns = data.columns.names if data.columns is not None else []
        return {"features": self.table.get("features") or [name for name in columns if name not in known]}

    def _columns(self, *keys: str) -> dict[str, Any]:
        return {key: self.table[key] for key in keys if key in self.table}

    def _text_of(self, path: Path) -> dict[str, str]:
        """Return how a CSV file is read."""
        return self._columns(*OF_CSV) if path.suffix.lower() == ".csv" else {}

    def _texts(self, name: str | Path, **settings: Any) -> Data:
        path = self.root / name
        columns = self._columns("id", "max_length", "prompt", "completion", "prompt_format")
        return Data.from_texts(path, self._tokenizer, **self._text_of(path), **self._whose, **columns, **settings)

    @cached_property
    def _tokenizer(self) -> Any:
        """Return the tokenizer that makes tokens of texts."""
        from neuralyzer.models.kinds.bases import tokenizer_of  # here, since it imports transformers

        return tokenizer_of(self.root / self.table["tokenizer"])

    def _read(self, name: str | Path, **columns: Any) -> Data:
        path = self.root / name
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise UnreadableError(f"{path} is none of {', '.join(READERS)}")
        return reader(path, **self._text_of(path), **columns)


@dataclass(frozen=True)
class _Both:
    """The composition of two functions of a name."""

    first: Callable[[str], str]
    then: Callable[[str], str]

    def __call__(self, name: str) -> str:
        """Return the second function's name; empty where the first returns an empty one."""
        first = self.first(name)
        return self.then(first) if first else first


def keyed_rows(data: Data) -> list[str]:
    """Return digests of rows by id and content, by which erased rows are recognised."""
    contents = digests.hexadecimal(data.row_digests)
    return [digests.of_texts(row)[:32] for row in zip(data.ids.tolist(), contents, strict=True)]


def keyed_missing(whole: Data | None, part: Data | None) -> list[str]:
    """Return digests, as ``keyed_rows`` does, of the rows that a part of some rows leaves out."""
    if whole is None or part is None or len(whole) == len(part):
        return []
    return keyed_rows(whole.select(~np.isin(whole.ids, part.ids)))
