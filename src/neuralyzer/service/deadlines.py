"""Due dates of requests, and which requests one unlearning run serves, and when.

Art. 12(3) GDPR: an answer within one month of receipt; two further months where requests are complex or many, of which
the person is told within the first.
"""

import calendar
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

MONTHS, EXTENDED = 1, 3  # from receipt to the due date, without and with an extension
ROOM = 2.0  # of a predicted duration, kept free before a due date; chosen, not tuned


def due(received: dt.date, months: int = MONTHS) -> dt.date:
    """Return the day that ends a period of months: that of the same number, or the last of its month.

    Args:
        received: first day of the period.
        months: of the period.

    Returns:
        The day (Regulation 1182/71, Art. 3(2)(c)); it is not moved for holidays, so it is never too late.
    """
    year, month = divmod(received.year * 12 + received.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return dt.date(year, month + 1, min(received.day, last))


@dataclass(frozen=True)
class Waiting:
    """A request that waits for its unlearning.

    Attributes:
        id: of the request.
        received: when it came in.
        due: its due date, of which the whole day counts.
        kind: requests of one kind can share a run.
        priority: higher ones go first.
        alone: whether it has a run of its own, at once.
    """

    id: str
    received: dt.datetime
    due: dt.date
    kind: str = ""
    priority: int = 0
    alone: bool = False


def next_batch(waiting: Sequence[Waiting], now: dt.datetime, batch_days: float, seconds: float) -> list[str]:
    """Return which requests the next run serves, if it is to begin now.

    Requests of one model whose due dates lie within ``batch_days`` of the first one's share a run. It begins that many
    days after the first came in, or earlier where a due date less the predicted duration would be missed.

    Args:
        waiting: requests for one model.
        now: the present moment.
        batch_days: how long a request may wait for others; 0 gives each a run of its own.
        seconds: that a run is predicted to take.

    Returns:
        Their ids, the most urgent first; none if all can wait.
    """
    order = sorted(waiting, key=lambda one: (-one.priority, not one.alone, one.due, one.received, one.id))
    for first in order:
        together = [first]
        if batch_days > 0 and not first.alone:
            last = first.due + dt.timedelta(days=batch_days)
            together += [one for one in order if one is not first and _shares(one, first) and one.due <= last]
        if first.alone or first.priority > 0 or begins(together, batch_days, seconds) <= now:
            return [one.id for one in together]
    return []


def begins(together: Sequence[Waiting], batch_days: float, seconds: float) -> dt.datetime:
    """Return when a batch begins at the latest."""
    collected = min(one.received for one in together) + dt.timedelta(days=batch_days)
    end = dt.datetime.combine(min(one.due for one in together), dt.time.max, dt.UTC)
    return min(collected, end - dt.timedelta(seconds=ROOM * seconds))


def _shares(one: Waiting, first: Waiting) -> bool:
    return one.kind == first.kind and not one.alone
