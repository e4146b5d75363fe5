"""The events of one request as its page needs them: what happened, and the figures that moved."""

from typing import Any

import sqlalchemy as sa

from neuralyzer.service.request import Event
from neuralyzer.service.tables import events
from neuralyzer.workspace.database import Database

MOVING = "progress"  # kind of the events that tell figures
MOST = 2000  # events that are read; the newest where there are more


def happened(database: Database, request: str, limit: int = MOST) -> list[Event]:
    """Return what happened to a request, in order, without the figures that moved."""
    return _newest(database, sa.and_(events.c.request == request, events.c.kind != MOVING), limit)


def moved(database: Database, request: str, after: int, limit: int = MOST) -> list[Event]:
    """Return the newest figures of a request, in order.

    Args:
        database: of the service.
        request: its id.
        after: number of the event after which they moved.
        limit: how many are returned at most.

    Returns:
        Events.
    """
    wanted = sa.and_(events.c.request == request, events.c.kind == MOVING, events.c.number > after)
    return _newest(database, wanted, limit)


def _newest(database: Database, wanted: sa.ColumnElement[Any], limit: int) -> list[Event]:
    query = sa.select(events).where(wanted).order_by(events.c.number.desc()).limit(limit)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    return [Event.of(row) for row in reversed(rows)]
