"""A request as the service keeps it, its events, and its changes."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from neuralyzer.data.request import ErasureRequest
from neuralyzer.service import deadlines
from neuralyzer.service.states import CLOSED, State


@dataclass(frozen=True)
class Request:
    """A request as the service keeps it; see ``tables.requests``.

    Attributes:
        erasure: what is to be forgotten; None once the request is closed and the ledger knows it, since it names people.
    """

    id: str
    model: str
    state: State
    erasure: ErasureRequest | None
    received: dt.datetime
    due: dt.date
    extended: str | None
    priority: int
    alone: bool
    batch: str | None
    case: str | None
    method: str | None
    approved: str | None
    stop: str | None
    verdict: str | None
    message: str | None
    tries: int
    not_before: dt.datetime | None
    client: str
    external: Mapping[str, Any] | None
    told: str | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Request":
        """Return the request of a row of ``tables.requests``."""
        values = dict(row._mapping)
        erasure, later = values["erasure"], values["not_before"]
        values |= {
            "state": State(values["state"]), "erasure": None if erasure is None else ErasureRequest.from_dict(erasure),
            "received": dt.datetime.fromisoformat(values["received"]), "due": dt.date.fromisoformat(values["due"]),
            "not_before": None if later is None else dt.datetime.fromisoformat(later),
        }  # fmt: skip
        return cls(**values)

    @property
    def waiting(self) -> deadlines.Waiting:
        """Return it as batches see it."""
        kind = "near" if self.erasure is not None and self.erasure.also_near else ""
        alone = self.alone or self.method is not None
        return deadlines.Waiting(self.id, self.received, self.due, kind, self.priority, alone)

    def late(self, today: dt.date) -> bool:
        """Return whether its due date is over and it is not closed."""
        return self.state not in CLOSED and self.due < today


@dataclass(frozen=True)
class Event:
    """Something that happened to a request.

    Attributes:
        number: counts all events of the service.
        request: its id.
        moment: when, ISO 8601.
        kind: one word.
        facts: plain values that name nobody.
    """

    number: int
    request: str
    moment: str
    kind: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Event":
        """Return the event of a row of ``tables.events``."""
        return cls(row.number, row.request, row.moment, row.kind, row.facts)


@dataclass(frozen=True)
class Change:
    """A request's new state.

    Attributes:
        request: its id.
        to: the state.
        kind: of the event.
        facts: of the event.
        columns: that change with it.
    """

    request: str
    to: State
    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
