"""Events of requests told to the ledger: written with the change that they tell of, appended later, each once.

What happens in a case (located, audited, verified and so on) the case itself tells. The ledger knows a request by its
id as it knows a case, and by its subjects' keys; a person's words are kept as a commitment beside a code.
"""

import hashlib
from typing import Any

from neuralyzer.ledger.events import Approval, Event, Facts, Reason
from neuralyzer.ledger.log import Ledger, Record
from neuralyzer.ledger.subject_keys import names_in
from neuralyzer.service.request import Event as Told
from neuralyzer.service.requests import Requests

EVENTS = {
    "received": Event.RECEIVED, "approved": Event.APPROVED, "extended": Event.EXTENDED, "refused": Event.REFUSED,
    "cancelled": Event.CANCELLED, "escalated": Event.ESCALATED, "failed": Event.FAILED, "released": Event.RELEASED,
}  # fmt: skip
STAGES = {"unlearn": Approval.BEFORE_UNLEARN, "release": Approval.BEFORE_RELEASE}
AT_ONCE = 500  # events in one transaction of the ledger


def record(requests: Requests, ledger: Ledger) -> int:
    """Tell the ledger of the events that it does not have; an event that was told before a kill is not told twice.

    Args:
        requests: of the service.
        ledger: of the workspace.

    Returns:
        How many events are dealt with.
    """
    events = requests.unrecorded(AT_ONCE)
    if not events:
        return 0
    records = [_record(requests, ledger, told) for told in events if told.kind in EVENTS]
    ledger.record_many(records)
    requests.recorded([told.number for told in events])
    return len(events)


def _record(requests: Requests, ledger: Ledger, told: Told) -> Record:
    request = requests.get(told.request)
    names = [] if request.erasure is None else names_in(request.erasure)
    subjects = ledger.begin(told.request, names)
    occurrence = requests.earlier(told)
    return Record(EVENTS[told.kind], told.request, subjects, Facts(**_facts(told)), occurrence, told.moment)


def _facts(told: Told) -> dict[str, Any]:
    """Return what the ledger keeps of an event: codes, days and digests."""
    facts = told.facts
    kept = {name: facts[name] for name in ("by", "due", "method", "verdict", "weights") if facts.get(name)}
    if told.kind == "received":
        return kept | {"received": told.moment[:10]}
    if told.kind == "approved":
        return kept | {"stage": STAGES[facts["what"]]}
    if told.kind in ("extended", "refused", "cancelled"):
        text = str(facts["reason"])
        code = Reason(text) if text in set(Reason) else Reason.OTHER
        return kept | {"reason": code, "result": hashlib.sha256(text.encode()).hexdigest()}
    if told.kind == "escalated":
        return kept | {"reason": Reason.NOT_FORGOTTEN}
    if told.kind == "failed":
        return kept | {"reason": Reason.ERROR}
    return kept
