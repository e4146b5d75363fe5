"""The result of ``locate``, as plain values and as tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

SHOWN = 10  # duplicates that a person is shown; to_dict has all


@dataclass(frozen=True)
class DatasetHit:
    """A version of a data set that holds rows of the request.

    Attributes:
        name: the data set's.
        digest: the version's.
        rows: how many of the request's rows it holds.
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
        name: the run's.
        path: its folder.
        first_seen: the first step that saw one of the rows; None where no recorded step did.
        last_checkpoint: step of the newest checkpoint on the disk, or None.
        newest_clean: step of the newest checkpoint that saw none of the rows, or None.
        weights: digest of the final weights, or None where the run is unfinished.
        finished: whether the run came to its end.
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
    """Checkpoints of all known runs: those that saw rows of the request, and those that did not."""

    dirty: int
    clean: int


@dataclass(frozen=True)
class Duplicate:
    """A row of equal content that the request does not name.

    Attributes:
        row: its id.
        subject: whose it is.
        dataset: name and start of the digest of the version that holds it.
    """

    row: str
    subject: str
    dataset: str


@dataclass(frozen=True)
class NearName:
    """A subject outside the request whose name differs from a requested one in spelling alone.

    Attributes:
        name: the other subject's.
        like: the name that was asked for.
        rows: how many the other has.
        dataset: name and start of the digest of the version that holds them.
    """

    name: str
    like: str
    rows: int
    dataset: str


@dataclass(frozen=True)
class DerivedModel:
    """A registered model that is a copy of one that saw the rows, or was made from one.

    Attributes:
        name: the model's.
        digest: of its weights, as they were registered.
        kind: copy, fine-tuned, distilled or another.
        parent: digest of the weights that it was made from; None for a copy that nobody gave one.
        reachable: whether its weights lie where they were registered, unchanged.
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
        rows: how many; None where nobody can say.
        reason: why nobody can say; empty where one can.
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
        rows: how many rows of the training data the request names, each counted once over all versions.
        datasets: the versions that hold them.
        runs: the runs trained on such versions.
        unreachable: runs whose data set is not registered, so that nobody can say what they saw.
        checkpoints: how many checkpoints saw the rows.
        duplicates: other rows of equal content.
        seconds: what the search took.
        derived: registered models that are copies of models that saw the rows, or were made from them.
        bases: pretrained weights that such models started from.
        near: other subjects whose names are like one that was asked for; their rows are not part of the request.
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
        if self.near:
            parts.append(
                Text("names that are much like one that was asked for; their rows are not part of the request:")
            )
            spelt = [(repr(own.name), repr(own.like), str(own.rows), own.dataset) for own in self.near[:SHOWN]]
            parts.append(_table(("name", "like", "rows", "data set"), spelt))
        if self.unreachable:
            parts.append(Text(f"not searched, data set not registered: {', '.join(self.unreachable)}"))
        return Group(*parts)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))  # text, for a name in brackets is no markup
    return table


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _step(step: int | None, none: str) -> str:
    return none if step is None else f"step {step}"
