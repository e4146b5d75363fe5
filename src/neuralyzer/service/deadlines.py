"""Due dates of requests, and which requests one unlearning run serves, and when.

Art. 12(3) GDPR: an answer within one month of receipt; two further months where requests are complex or many, of which
the person is told within the first.
"""

import bisect
import calendar
import datetime as dt
import itertools
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
    days = dt.timedelta(days=batch_days)
    kinds = {kind: _Kind([one for one in order if _shares(one, kind)], days) for kind in {one.kind for one in order}}
    for first in order:
        alone = first.alone or batch_days == 0
        begins_at = begins([first], batch_days, seconds) if alone else kinds[first.kind].begins(first, seconds)
        if first.alone or first.priority > 0 or begins_at <= now:
            others = () if alone else (one for one in order if one is not first and _shares(one, first.kind))
            return [first.id, *(one.id for one in others if one.due <= first.due + days)]
    return []


def begins(together: Sequence[Waiting], batch_days: float, seconds: float) -> dt.datetime:
    """Return when a batch begins at the latest."""
    received, earliest = min(one.received for one in together), min(one.due for one in together)
    return _begins(received, earliest, dt.timedelta(days=batch_days), seconds)


class _Kind:
    """Requests of one kind that share runs, by due date; thousands may wait, and each may be the first of a run."""

    def __init__(self, waiting: Sequence[Waiting], days: dt.timedelta) -> None:
        ordered = sorted(waiting, key=lambda one: one.due)
        self._days, self._due = days, [one.due for one in ordered]
        self._received = list(itertools.accumulate((one.received for one in ordered), min))  # earliest up to each

    def begins(self, first: Waiting, seconds: float) -> dt.datetime:
        """Return when the batch of a request begins at the latest."""
        last = bisect.bisect_right(self._due, first.due + self._days) - 1
        return _begins(self._received[last], self._due[0], self._days, seconds)


def _begins(received: dt.datetime, due: dt.date, days: dt.timedelta, seconds: float) -> dt.datetime:
    end = dt.datetime.combine(due, dt.time.max, dt.UTC)
    return min(received + days, end - dt.timedelta(seconds=ROOM * seconds))


def _shares(one: Waiting, kind: str) -> bool:
    return one.kind == kind and not one.alone
