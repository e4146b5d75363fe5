"""The schedule: which batch of a model works on which phase next."""

import datetime as dt
import secrets
from collections.abc import Sequence

from neuralyzer.errors import UsageError
from neuralyzer.service import deadlines
from neuralyzer.service.request import Change, Request
from neuralyzer.service.requests import Requests
from neuralyzer.service.run import PREPARE, RELEASE, UNLEARN
from neuralyzer.service.settings import Approve, Settings
from neuralyzer.service.states import State

UNDER_WAY = (State.PREPARING, State.PLANNED, State.UNLEARNING, State.JUDGED)
Phase = tuple[str, str, int]  # batch, one of the phases of a run, and how often its requests were tried before


def schedule(requests: Requests, settings: Settings, now: dt.datetime, seconds: float) -> list[Phase]:
    """Begin what can begin, and return the phases that workers should be at.

    The batches of a model follow one another: none unlearns while another one has unlearned weights that are not
    released. One that waits for approval of its plan keeps nobody waiting.

    Args:
        requests: of the service.
        settings: of the service.
        now: the present moment.
        seconds: that a run is predicted to take.

    Returns:
        One phase at most for each model; a phase may be returned again until it is done.
    """
    present = requests.find(UNDER_WAY, settings.model)
    by_state = {state: [request for request in present if request.state is state] for state in UNDER_WAY}
    for state, phase in ((State.PREPARING, PREPARE), (State.UNLEARNING, UNLEARN)):
        if by_state[state]:
            first = by_state[state][0].batch
            return [_phase([request for request in by_state[state] if request.batch == first], phase)]
    for batch in _ready(by_state[State.JUDGED], settings, Approve.BEFORE_RELEASE, RELEASE):
        return [] if any(_later(request, now) for request in batch) else [_phase(batch, RELEASE)]
    if by_state[State.JUDGED]:
        return []
    for batch in _ready(by_state[State.PLANNED], settings, Approve.BEFORE_UNLEARN, UNLEARN):
        if _begun(requests, batch, State.UNLEARNING, "unlearning", str(batch[0].batch)):
            return [_phase(batch, UNLEARN)]
    # Read last, since there may be thousands, and only where a run may begin.
    free = [request for request in requests.find([State.RECEIVED], settings.model) if not _later(request, now)]
    chosen = deadlines.next_batch([request.waiting for request in free], now, settings.batch_days, seconds)
    if not chosen:
        return []
    batch = [request for request in free if request.id in chosen]
    name = f"batch-{secrets.token_hex(8)}"  # new each time, since DBOS returns the old result of an id used before
    begun = _begun(requests, batch, State.PREPARING, "preparing", name)
    return [(name, PREPARE, _tries(batch))] if begun else []


def _phase(batch: Sequence[Request], phase: str) -> Phase:
    return str(batch[0].batch), phase, _tries(batch)


def _tries(batch: Sequence[Request]) -> int:
    return sum(request.tries for request in batch)


def _later(request: Request, now: dt.datetime) -> bool:
    return request.not_before is not None and request.not_before > now


def _ready(waiting: Sequence[Request], settings: Settings, when: Approve, phase: str) -> list[list[Request]]:
    """Return batches whose requests all may go on, the one with the earliest due date first."""
    batches: dict[str | None, list[Request]] = {}
    for request in waiting:
        batches.setdefault(request.batch, []).append(request)
    return [
        batch
        for batch in batches.values()
        if settings.approve is not when or all(request.approved == phase for request in batch)
    ]


def _begun(requests: Requests, batch: Sequence[Request], state: State, kind: str, name: str) -> bool:
    """Move a batch to a state; return whether all its requests were still as they were."""
    changes = [Change(request.id, state, kind, {"batch": name}, {"batch": name}) for request in batch]
    try:
        requests.change(changes, {request.state for request in batch})
    except UsageError:  # a person has cancelled one of them just now; the next look sees it
        return False
    return True
