"""The result of ``locate``, as plain values and as tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

SHOWN = 10  # duplicates and similar names that the table shows; to_dict has all


@dataclass(frozen=True)
class DatasetHit:
    """A version of a data set that holds rows of the request.

    Attributes:
        name: of the data set.
        digest: of the version.
        rows: number of the request's rows in it.
        role: ``training``, ``holdout`` or another.
    """

    name: str
    digest: str
    rows: int
    role: str


@dataclass(frozen=True)
class RunHit:
    """A training run on a data set that holds rows of the request.

    Attributes:
        name: of the run.
        path: of its folder.
        first_seen: the first step that saw one of the rows; None where no recorded step did.
        last_checkpoint: step of the newest checkpoint on the disk, or None.
        newest_clean: step of the newest checkpoint that saw none of the rows, or None.
        weights: digest of the final weights, or None where the run is unfinished.
        finished: whether the run reached its end.
    """

    name: str
    path: str
    first_seen: int | None
    last_checkpoint: int | None
    newest_clean: int | None
    weights: str | None
    finished: bool


@dataclass(frozen=True)
class Checkpoints:
    """The numbers of checkpoints of all known runs that saw rows of the request, and that did not."""

    dirty: int
    clean: int


@dataclass(frozen=True)
class Duplicate:
    """A row of equal content that the request does not name.

    Attributes:
        row: id of the row.
        subject: to whom it belongs.
        dataset: name and start of the digest of the version that has it.
    """

    row: str
    subject: str
    dataset: str


@dataclass(frozen=True)
class NearCopy:
    """A row that says nearly the same as a requested one (``data.near_copies``).

    Attributes:
        row: id of the row.
        subject: to whom it belongs.
        dataset: name and start of the digest of the version that has it.
        role: of that version.
        like: id of the requested row that is most similar.
        similarity: Jaccard similarity of the two rows' shingles, 0 to 1.
    """

    row: str
    subject: str
    dataset: str
    role: str
    like: str
    similarity: float


@dataclass(frozen=True)
class NearName:
    """A subject outside the request whose name differs from a requested one in spelling alone.

    Attributes:
        name: of the other subject.
        like: the similar name in the request.
        rows: number of the other subject's rows.
        dataset: name and start of the digest of the version that has them.
    """

    name: str
    like: str
    rows: int
    dataset: str


@dataclass(frozen=True)
class DerivedModel:
    """A registered model that is a copy of one that saw the rows, or was made from one.

    Attributes:
        name: of the model.
        digest: of its weights, as they were registered.
        kind: copy, fine-tuned, distilled or another.
        parent: digest of the weights that it was made from; None for a copy registered without one.
        reachable: whether its weights are where they were registered, unchanged.
        reason: why it is not reachable; empty where it is.
    """

    name: str
    digest: str
    kind: str
    parent: str | None
    reachable: bool
    reason: str


@dataclass(frozen=True)
class Base:
    """Pretrained weights that a model's training started from.

    Attributes:
        name: as it is registered; None where it is not.
        digest: of its weights.
        saw: ``yes``, ``no`` or ``unknown``: whether its training data holds rows of the request.
        rows: number of these rows; None if unknown.
        reason: why it is unknown; empty where it is known.
    """

    name: str | None
    digest: str
    saw: str
    rows: int | None
    reason: str

    def __str__(self) -> str:
        """Return what is known of the base, in a few words."""
        known = {"yes": f"saw {self.rows} of the rows", "no": "saw none of the rows"}
        return f"{self.name or self.digest[:12]}: {known.get(self.saw, f'unknown, {self.reason}')}"


@dataclass(frozen=True)
class Location:
    """The places where the rows of a request are.

    Attributes:
        rows: number of training rows that the request names, each counted once over all versions.
        datasets: the versions that have them.
        runs: the runs trained on such versions.
        unreachable: runs whose data set is not registered, so that it is unknown what they saw.
        checkpoints: numbers of checkpoints that saw the rows and that did not.
        duplicates: other rows of equal content.
        seconds: that the search took.
        derived: registered models that are copies of models that saw the rows, or were made from them.
        bases: pretrained weights that such models started from.
        near: other subjects with names similar to one in the request; their rows are not part of the request.
        near_copies: other rows that say nearly the same, exact duplicates aside; None where none could be searched for,
            since no rows of tokens are at hand or the extra ``language`` is missing.
        also_near: rows that are part of the request only since they nearly copy, or copy, one that it names.
    """

    rows: int
    datasets: tuple[DatasetHit, ...]
    runs: tuple[RunHit, ...]
    unreachable: tuple[str, ...]
    checkpoints: Checkpoints
    duplicates: tuple[Duplicate, ...]
    seconds: float
    derived: tuple[DerivedModel, ...] = ()
    bases: tuple[Base, ...] = ()
    near: tuple[NearName, ...] = ()
    near_copies: tuple[NearCopy, ...] | None = None
    also_near: tuple[NearCopy, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the location as plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def __rich__(self) -> RenderableType:
        """Return the location as tables for a terminal."""
        parts: list[RenderableType] = [
            Text(f"{_count(self.rows, 'training row')} found in {self.seconds:.2f} s"),
            _table(
                ("data set", "role", "rows", "digest"),
                [(hit.name, hit.role, str(hit.rows), hit.digest[:12]) for hit in self.datasets],
            ),
        ]
        if self.runs:
            parts.append(
                _table(
                    ("run", "first seen", "last checkpoint", "newest clean", "weights"),
                    [
                        (
                            hit.name,
                            _step(hit.first_seen, "never"),
                            _step(hit.last_checkpoint, "none"),
                            _step(hit.newest_clean, "none"),
                            hit.weights[:12] if hit.weights else "unfinished",
                        )
                        for hit in self.runs
                    ],
                )
            )
            parts.append(
                Text(f"{_count(self.checkpoints.dirty, 'checkpoint')} saw the rows, {self.checkpoints.clean} did not")
            )
        if self.derived:
            parts.append(
                _table(
                    ("derived model", "kind", "weights", "reachable"),
                    [(m.name, m.kind, m.digest[:12], "yes" if m.reachable else m.reason) for m in self.derived],
                )
            )
        parts += [Text(f"pretrained base {base}") for base in self.bases]
        if self.duplicates:
            parts.append(Text(f"{_count(len(self.duplicates), 'other row')} of equal content:"))
            shown = [(copy.row, copy.subject, copy.dataset) for copy in self.duplicates[:SHOWN]]
            parts.append(_table(("row", "subject", "data set"), shown))
        for copies, what in (
            (self.near_copies, "not part of the request"), (self.also_near, "part of the request"),
        ):  # fmt: skip
            if copies:
                parts.append(Text(f"{_count(len(copies), 'other row')} of nearly the same text, {what}:"))
                parts.append(_near_copies(copies))
        if self.near:
            parts.append(
                Text("names that are much like one that was asked for; their rows are not part of the request:")
            )
            spelt = [(repr(hit.name), repr(hit.like), str(hit.rows), hit.dataset) for hit in self.near[:SHOWN]]
            parts.append(_table(("name", "like", "rows", "data set"), spelt))
        if self.unreachable:
            parts.append(Text(f"not searched, data set not registered: {', '.join(self.unreachable)}"))
        return Group(*parts)


def _near_copies(copies: Sequence[NearCopy]) -> Table:
    alike = [
        (hit.row, hit.subject, f"{hit.dataset} ({hit.role})", hit.like, f"{hit.similarity:.2f}")
        for hit in copies[:SHOWN]
    ]
    return _table(("row", "subject", "data set", "like row", "similarity"), alike)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))  # as Text, so that names in brackets are not read as markup
    return table


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _step(step: int | None, none: str) -> str:
    return none if step is None else f"step {step}"
