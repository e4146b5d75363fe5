"""Figures of a service: how many requests are late, and how long answers took."""

import datetime as dt

import sqlalchemy as sa

from neuralyzer.service.states import CLOSED
from neuralyzer.service.tables import events, requests
from neuralyzer.workspace.database import Database

ENDED = [str(state) for state in CLOSED]


def late(database: Database, today: dt.date) -> int:
    """Return how many requests are open though their due date is over."""
    wanted = sa.select(sa.func.count()).where(requests.c.due < today.isoformat(), requests.c.state.not_in(ENDED))
    with database.transaction() as connection:
        return connection.execute(wanted).scalar_one()


def answered(database: Database, since: dt.datetime) -> list[float]:
    """Return the seconds from receipt to the last event of each request that was closed since a moment."""
    last = sa.func.max(events.c.moment)
    wanted = sa.select(requests.c.received, last).join(events, events.c.request == requests.c.id)
    wanted = wanted.where(requests.c.state.in_(ENDED)).group_by(requests.c.id, requests.c.received)
    with database.transaction() as connection:
        found = connection.execute(wanted.having(last >= since.isoformat())).all()
    read = dt.datetime.fromisoformat
    return [(read(end) - read(begin)).total_seconds() for begin, end in found]
