"""What a person decides about a request: approve, choose another option, cancel, extend, refuse, take up again.

Each decision is an event, with its reason and the id of the token that made it. The ledger records it too.
"""

import datetime as dt
from dataclasses import replace
from typing import Any

from neuralyzer.errors import UsageError
from neuralyzer.service import deadlines
from neuralyzer.service.request import Change, Request
from neuralyzer.service.requests import Requests
from neuralyzer.service.states import CLOSED, WORKED_ON, State

REASON = 500  # characters of a reason


def approve(requests: Requests, request: str, who: str, method: str | None = None) -> Request:
    """Approve what comes next: unlearning where a plan waits, the release where a verdict waits.

    Args:
        requests: of the service.
        request: its id.
        who: id of the token.
        method: another option of the plan than the chosen one; its request then has a run of its own.

    Returns:
        The request.

    Raises:
        UsageError: if nothing waits for approval, or a method is named for a release.
    """
    present = requests.get(request)
    if present.state not in (State.PLANNED, State.JUDGED):
        raise UsageError(f"{request} is {present.state}; there is nothing to approve")
    what = "unlearn" if present.state is State.PLANNED else "release"
    if method is not None and what == "release":
        raise UsageError(f"{request} has unlearned already; a method can no longer be chosen")
    facts, columns = {"what": what, "by": who}, {"approved": what}
    if method is not None:
        facts, columns = facts | {"method": method}, columns | {"method": method}
    if method is not None and len(requests.find(batch=present.batch)) > 1:
        alone = columns | {"batch": None, "case": None, "alone": True}
        requests.change([Change(request, State.RECEIVED, "approved", facts, alone)], [State.PLANNED])
    else:
        requests.note(request, "approved", facts, **columns)
    return requests.get(request)


def cancel(requests: Requests, request: str, who: str, reason: str) -> Request:
    """Cancel a request; one that a worker has is cancelled when the present stage is done.

    Returns:
        The request.

    Raises:
        UsageError: if it is closed already, or no reason is given.
    """
    return _end(requests, request, who, reason, State.CANCELLED, "cancelled")


def refuse(requests: Requests, request: str, who: str, reason: str) -> Request:
    """Refuse a request (Art. 12(5), 17(3) GDPR); the reason is for the person who asked.

    Returns:
        The request.

    Raises:
        UsageError: if it is closed already or a worker has it, or no reason is given.
    """
    present = requests.get(request)
    if present.state in WORKED_ON:
        raise UsageError(f"{request} is {present.state}; refuse it when that is done, or cancel it")
    return _end(requests, request, who, reason, State.REFUSED, "refused")


def extend(requests: Requests, request: str, who: str, reason: str, today: dt.date | None = None) -> Request:
    """Extend the due date by two months (Art. 12(3) GDPR); the person is told within the first month.

    Args:
        requests: of the service.
        request: its id.
        who: id of the token.
        reason: why, for the person who asked.
        today: the present day.

    Returns:
        The request.

    Raises:
        UsageError: if it is closed, was extended before, the first month is over, or no reason is given.
    """
    present, reason = requests.get(request), _reason(reason)
    if present.state in CLOSED:
        raise UsageError(f"{request} is {present.state}; its due date no longer matters")
    if present.extended is not None:
        raise UsageError(f"{request} was extended already; Art. 12(3) GDPR allows it once")
    received = present.received.date()
    first = deadlines.due(received)
    if (today or dt.datetime.now(dt.UTC).date()) > first:
        raise UsageError(f"{request} cannot be extended after {first}: the person must be told within the first month")
    day = max(present.due, deadlines.due(received, deadlines.EXTENDED)).isoformat()
    facts = {"by": who, "reason": reason, "due": day}
    columns: dict[str, Any] = {"due": day, "extended": reason}
    if present.state is State.RECEIVED and present.erasure is not None:  # a case that has begun keeps its date
        columns["erasure"] = replace(present.erasure, due=day).to_dict()
    requests.note(request, "extended", facts, **columns)
    return requests.get(request)


def again(requests: Requests, request: str, who: str) -> Request:
    """Take up a request again that waits for a person.

    Returns:
        The request.

    Raises:
        UsageError: if it does not wait for one.
    """
    columns = dict.fromkeys(("batch", "case", "approved", "message", "not_before"))
    requests.change([Change(request, State.RECEIVED, "taken up again", {"by": who}, columns)], [State.NEEDS_PERSON])
    return requests.get(request)


def _end(requests: Requests, request: str, who: str, reason: str, state: State, kind: str) -> Request:
    reason, present = _reason(reason), requests.get(request)
    facts = {"by": who, "reason": reason}
    if present.state in WORKED_ON:
        requests.note(request, "to be cancelled", facts, stop=reason)
    elif present.state in CLOSED:
        raise UsageError(f"{request} is {present.state} already")
    else:
        requests.change([Change(request, state, kind, facts, {"message": reason})])
    return requests.get(request)


def _reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("give a reason; it is part of the record")
    if len(reason) > REASON:
        raise UsageError(f"the reason has {len(reason)} characters; {REASON} are enough")
    return reason
