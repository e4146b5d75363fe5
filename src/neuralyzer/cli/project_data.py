"""The rows of a project: training rows, holdout, a claimant's rows, and the tables that are searched besides."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.models.named import NamedFunction
from neuralyzer.registry import manifests, tables
from neuralyzer.registry.manifests import DatasetVersion

READERS = {".parquet": Data.from_parquet, ".csv": Data.from_csv, ".jsonl": Data.from_jsonl, ".json": Data.from_jsonl}
OF_CSV = ("separator", "encoding")


@dataclass(frozen=True)
class ProjectData:
    """What ``[data]`` says, read.

    Attributes:
        root: folder that paths are relative to.
        table: the keys of ``[data]``.
    """

    root: Path
    table: dict[str, Any]

    @cached_property
    def training(self) -> Data:
        """The training rows as the file has them."""
        columns = self._columns("target", "id", "features", "tokens", "classes")
        return self._read(self.table["train"], transform=self.transform, **self._whose, **columns)

    @cached_property
    def holdout(self) -> Data | None:
        """The holdout, if there is one; it needs no column of subjects: whose rows a model never saw is no matter to it."""
        if not self.table.get("holdout"):
            return None
        return self._holdout()

    def claimed(self, path: Path) -> Data:
        """A claimant's rows, by the training rows' columns; columns of subject and id may be missing."""
        return self._read(path, target=self.table["target"], **self._named, **self._seen(self.training))

    @cached_property
    def whole_holdout(self) -> Data | None:
        """The holdout with its subjects, where the file has them."""
        own, whose = self.holdout, self._whose
        if own is None or not whose or own.columns is None or whose["subject"] not in own.columns.names:
            return own
        return self._holdout(**whose)

    def _holdout(self, **whose: Any) -> Data:
        columns = self._columns("target", "id") | self._named | whose
        return self._read(self.table["holdout"], **self._seen(self.training), **columns)

    @cached_property
    def searched(self) -> tuple[DatasetVersion, ...]:
        """Holdout and further tables, to be searched for a subject as the training rows are."""
        found = []
        if self.whole_holdout is not None:
            found.append(manifests.unregistered(self.table["holdout"], self.whole_holdout, role="holdout"))
        for own in self.table.get("also", ()):
            entry = dict(own)
            path = self.root / entry.pop("path")
            found.append(tables.table(path, key=self.subject_key, **(self._text_of(path) | entry)))
        return tuple(found)

    def known_by(self, asked: ErasureRequest) -> ErasureRequest:
        """A request in the names that subjects are known by."""
        return asked.known_by(self.subject_key)

    @cached_property
    def transform(self) -> Callable[..., Any] | None:
        """What makes the features of a table of rows, where the file names it."""
        name = self.table.get("transform")
        return None if name is None else NamedFunction(name, self.root, "transform")

    @cached_property
    def subject_key(self) -> Callable[[str], str] | None:
        """What makes the name that a subject is known by, where the file names it."""
        name = self.table.get("subject_key")
        return None if name is None else NamedFunction(name, self.root, "subject_key")

    @cached_property
    def _whose(self) -> dict[str, Any]:
        """The column of subjects, or of the key by which another table tells them, and what makes names of it."""
        told = self.table.get("subject_table")
        if told is None:
            return self._columns("subject") | ({"subject_key": self.subject_key} if self.subject_key else {})
        if "subject" in self.table:
            raise UsageError("give subject or subject_table, not both: one says whose a row is")
        entry = dict(told)
        path = self.root / entry.pop("path")
        names = tables.SubjectTable.read(path, **(self._text_of(path) | entry))
        return {
            "subject": told["key"],
            "subject_key": names if self.subject_key is None else _Both(names, self.subject_key),
        }

    @property
    def _named(self) -> dict[str, Any]:
        """The training rows' classes, so that a label has one number in every file."""
        return {"classes": self.training.classes}

    def _seen(self, data: Data) -> dict[str, Any]:
        """What the model sees of rows that are not its training rows: the same columns, or what transform makes."""
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
        """How a CSV file is read."""
        return self._columns(*OF_CSV) if path.suffix.lower() == ".csv" else {}

    def _read(self, name: str | Path, **columns: Any) -> Data:
        path = self.root / name
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise UnreadableError(f"{path} is none of {', '.join(READERS)}")
        return reader(path, **self._text_of(path), **columns)


@dataclass(frozen=True)
class _Both:
    """One function of a name after another."""

    first: Callable[[str], str]
    then: Callable[[str], str]

    def __call__(self, name: str) -> str:
        """Empty where the first says that nobody is meant."""
        made = self.first(name)
        return self.then(made) if made else made
