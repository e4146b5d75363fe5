"""``Requests``: all requests of the service, each change of them an event."""

import datetime as dt
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.service import deadlines
from neuralyzer.service.request import Change, Event, Request
from neuralyzer.service.states import CLOSED, WORKED_ON, State, require
from neuralyzer.service.tables import LOCK, events, metadata, replies, requests
from neuralyzer.workspace import digests
from neuralyzer.workspace.database import Database

_names = requests.c.erasure.is_not(sa.null())  # a closed request still has them
DAYS_OF_REPLIES = 30  # an Idempotency-Key is remembered so long
ALL = ""  # in place of a token: ids that clients chose, which are unique among all of them


class Requests:
    """The requests in a database.

    Args:
        url: of the database.
        key: of the workspace, without which nobody can tell from a kept digest what was asked.
    """

    def __init__(self, url: str, key: bytes = b"") -> None:
        self._key = key
        self.database = Database(url, metadata, LOCK, "the service's database")

    def create(
        self,
        model: str,
        erasure: ErasureRequest,
        client: str,
        *,
        received: dt.datetime | None = None,
        due: dt.date | None = None,
        priority: int = 0,
        key: str | None = None,
        external: Mapping[str, Any] | None = None,
        method: str | None = None,
        own: str | None = None,
    ) -> tuple[Request, bool]:
        """Take in a request.

        Args:
            model: that is to forget.
            erasure: what is to be forgotten.
            client: id of the token that asks.
            received: when it came in; now by default.
            due: by default one month later.
            priority: higher ones go first.
            key: of the client; a second request with it returns the first one.
            external: what a consent platform must be told again.
            method: a person's choice of algorithm; None leaves it to the plan.
            own: what the client calls the request, in place of ``key`` and unique among all clients; its id follows
                from it, so that it is found by it, and it is remembered for ever.

        Returns:
            The request, and whether it is a new one.

        Raises:
            UsageError: if the key, or the client's own id, was used for another request.
        """
        moment = received or dt.datetime.now(dt.UTC)
        day = due or (dt.date.fromisoformat(erasure.due) if erasure.due else deadlines.due(moment.date()))
        asked = {"model": model, "erasure": erasure.to_dict(), "priority": priority}
        kept = replace(erasure, due=day.isoformat()).to_dict()
        content = digests.of_json(asked | ({} if method is None else {"method": method}))
        body = hmac.digest(self._key, content.encode(), "sha256").hex()
        id_ = f"req-{secrets.token_hex(8)}" if own is None else id_of(own)
        asker, key, called = (client, key, "Idempotency-Key") if own is None else (ALL, own, "id")
        with self.database.transaction(writes=True) as connection:
            if key is not None:
                wanted = sa.select(replies).where(replies.c.token == asker, replies.c.key == key)
                known = connection.execute(wanted).first()
                if known is not None and known.body != body:
                    raise UsageError(f"this {called} was used for another request; take a new one")
                if known is not None:
                    return _read(connection, known.request), False
            values = {
                "id": id_, "model": model, "state": State.RECEIVED, "erasure": kept,
                "received": moment.isoformat(), "due": day.isoformat(), "priority": priority, "alone": False, "tries": 0,
                "client": client, "external": external, "method": method,
            }  # fmt: skip
            connection.execute(sa.insert(requests).values(**values))
            _tell(connection, id_, "received", {"due": day.isoformat(), "reason": erasure.reason})
            if key is not None:
                old = (moment - dt.timedelta(days=DAYS_OF_REPLIES)).isoformat()
                connection.execute(sa.delete(replies).where(replies.c.moment < old, replies.c.token != ALL))
                row = {"token": asker, "key": key, "body": body, "request": id_, "moment": moment.isoformat()}
                connection.execute(sa.insert(replies).values(**row))
            return _read(connection, id_), True

    def get(self, request: str) -> Request:
        """Return a request.

        Raises:
            UsageError: if there is none of that id.
        """
        with self.database.transaction() as connection:
            return _read(connection, request)

    def find(
        self,
        states: Iterable[State] | None = None,
        model: str | None = None,
        batch: str | None = None,
        start: int = 0,
        limit: int | None = None,
    ) -> list[Request]:
        """Return requests, the earliest due date first.

        Args:
            states: only those in one of them.
            model: only those for this model.
            batch: only those of this batch.
            start: how many are left out at the beginning.
            limit: how many are returned at most.
        """
        wanted = sa.select(requests).order_by(requests.c.due, requests.c.received, requests.c.id)
        if states is not None:
            wanted = wanted.where(requests.c.state.in_([str(state) for state in states]))
        for column, value in ((requests.c.model, model), (requests.c.batch, batch)):
            wanted = wanted if value is None else wanted.where(column == value)
        with self.database.transaction() as connection:
            return [Request.of(row) for row in connection.execute(wanted.offset(start).limit(limit))]

    def count(self) -> dict[State, int]:
        """Return how many requests are in each state."""
        with self.database.transaction() as connection:
            found = connection.execute(sa.select(requests.c.state, sa.func.count()).group_by(requests.c.state)).all()
        return {state: dict(tuple(row) for row in found).get(str(state), 0) for state in State}

    def change(self, changes: Sequence[Change], before: Iterable[State] | None = None) -> None:
        """Change the states of requests, all or none; one that is in the wanted state already is left as it is.

        A request that a person has cancelled while a worker had it ends here.

        Args:
            changes: one a request.
            before: states of which each request must be in one; any that the new one may follow by default.

        Raises:
            UsageError: if one of them cannot become so.
        """
        with self.database.transaction(writes=True) as connection:
            for change in changes:
                present = _read(connection, change.request)
                if present.state is change.to:
                    continue
                if before is not None and present.state not in set(before):
                    raise UsageError(f"{present.id} is {present.state}; it cannot become {change.to} now")
                stop = present.stop
                if stop is not None and present.state in WORKED_ON and change.to is not State.DONE:
                    change = Change(present.id, State.CANCELLED, "cancelled", {"reason": stop}, {"message": stop})
                require(present.id, present.state, change.to)
                _change(connection, present.id, {"state": change.to, **change.columns})
                _tell(connection, present.id, change.kind, change.facts)

    def move(
        self, ids: Sequence[str], to: State, kind: str, facts: Mapping[str, Any] | None = None, **columns: Any
    ) -> None:
        """Change several requests alike, see ``change``."""
        self.change([Change(request, to, kind, facts or {}, columns) for request in ids])

    def note(self, request: str, kind: str, facts: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """Record an event of a request, and change columns with it, but not its state.

        Args:
            request: its id.
            kind: of the event.
            facts: of the event.
            **changes: columns.

        Raises:
            UsageError: if there is none of that id.
        """
        with self.database.transaction(writes=True) as connection:
            _read(connection, request)
            if changes:
                _change(connection, request, changes)
            _tell(connection, request, kind, facts or {})

    def show(self, ids: Sequence[str], kind: str, facts: Mapping[str, Any]) -> None:
        """Tell those who watch some requests of something that the ledger need not have."""
        with self.database.transaction(writes=True) as connection:
            for request in ids:
                _tell(connection, request, kind, facts, recorded=True)

    def events(self, request: str | None = None, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return events in order.

        Args:
            request: only this one's.
            after: number of the last one that is known.
            limit: how many are returned at most.
        """
        wanted = sa.select(events).where(events.c.number > after).order_by(events.c.number).limit(limit)
        wanted = wanted if request is None else wanted.where(events.c.request == request)
        with self.database.transaction() as connection:
            return [Event.of(row) for row in connection.execute(wanted)]

    def all_events(self, request: str, after: int = 0) -> Iterator[Event]:
        """Yield all events of a request in order, after the number of one that is known; read some at a time."""
        while found := self.events(request, after):
            yield from found
            after = found[-1].number

    def earlier(self, event: Event) -> int:
        """Return how many events of the same kind its request had before."""
        same = events.c.request == event.request, events.c.kind == event.kind, events.c.number < event.number
        with self.database.transaction() as connection:
            return connection.execute(sa.select(sa.func.count()).where(*same)).scalar_one()

    def newest(self) -> int:
        """Return the number of the newest event; 0 if there is none."""
        with self.database.transaction() as connection:
            return connection.execute(sa.select(sa.func.max(events.c.number))).scalar() or 0

    def untold(self) -> list[Request]:
        """Return requests of consent platforms that were not told of their present state."""
        changed = sa.or_(requests.c.told.is_(None), requests.c.told != requests.c.state)
        wanted = sa.select(requests).where(requests.c.external.is_not(sa.null()), changed)
        with self.database.transaction() as connection:
            return [Request.of(row) for row in connection.execute(wanted)]

    def mark_told(self, request: str, state: State) -> None:
        """Note that a consent platform was told of a request's state."""
        with self.database.transaction(writes=True) as connection:
            _change(connection, request, {"told": state})

    def unrecorded(self, limit: int = 1000) -> list[Event]:
        """Return events that the ledger does not have yet, in order."""
        wanted = sa.select(events).where(~events.c.recorded).order_by(events.c.number).limit(limit)
        with self.database.transaction() as connection:
            return [Event.of(row) for row in connection.execute(wanted)]

    def recorded(self, numbers: Sequence[int]) -> None:
        """Mark events as told to the ledger; the names in a closed request go, once the ledger has all of its events."""
        with self.database.transaction(writes=True) as connection:
            connection.execute(sa.update(events).where(events.c.number.in_(numbers)).values(recorded=True))
            untold = sa.select(events.c.request).where(~events.c.recorded)
            over = requests.c.state.in_([str(state) for state in CLOSED]), requests.c.id.not_in(untold)
            connection.execute(sa.update(requests).where(*over, _names).values(erasure=None))


def id_of(own: str) -> str:
    """Return the id of a request from what its client calls it."""
    return f"req-{digests.of_texts([own])[:16]}"


def now() -> str:
    """Return the present moment in ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat()


def _change(connection: sa.Connection, request: str, changes: Mapping[str, Any]) -> None:
    connection.execute(sa.update(requests).where(requests.c.id == request).values(**changes))


def _tell(connection: sa.Connection, request: str, kind: str, facts: Mapping[str, Any], recorded: bool = False) -> None:
    row = {"request": request, "moment": now(), "kind": kind, "facts": dict(facts), "recorded": recorded}
    connection.execute(sa.insert(events).values(**row))


def _read(connection: sa.Connection, request: str) -> Request:
    row = connection.execute(sa.select(requests).where(requests.c.id == request)).first()
    if row is None:
        raise UsageError(f"there is no request {request!r}")
    return Request.of(row)
