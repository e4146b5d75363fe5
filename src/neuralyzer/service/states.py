"""The states of a request, and which may follow which."""

from enum import StrEnum

from neuralyzer.errors import UsageError


class State(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"  # waits for its batch
    PREPARING = "preparing"  # is located, audited and planned
    PLANNED = "planned"  # waits for approval, or for its turn
    UNLEARNING = "unlearning"  # unlearns, is verified and certified
    JUDGED = "judged"  # waits for approval of the release, or for its turn
    DONE = "done"
    NEEDS_PERSON = "needs a person"
    REFUSED = "refused"
    CANCELLED = "cancelled"


WORKED_ON = (State.PREPARING, State.UNLEARNING)  # a worker has it
CLOSED = (State.DONE, State.REFUSED, State.CANCELLED)
APPROVED_IN = (State.PLANNED, State.JUDGED)

NEXT = {
    State.RECEIVED: {State.PREPARING, State.NEEDS_PERSON, State.REFUSED, State.CANCELLED, State.DONE},
    State.PREPARING: {State.PLANNED, State.RECEIVED, State.NEEDS_PERSON, State.CANCELLED, State.DONE},
    State.PLANNED: {State.UNLEARNING, State.RECEIVED, State.NEEDS_PERSON, State.REFUSED, State.CANCELLED},
    State.UNLEARNING: {State.JUDGED, State.RECEIVED, State.NEEDS_PERSON, State.CANCELLED},
    State.JUDGED: {State.DONE, State.RECEIVED, State.NEEDS_PERSON, State.REFUSED, State.CANCELLED},
    State.NEEDS_PERSON: {State.RECEIVED, State.REFUSED, State.CANCELLED},
    State.DONE: {State.RECEIVED},  # by a rollback
    State.REFUSED: set(),
    State.CANCELLED: set(),
}


def require(request: str, before: State, after: State) -> None:
    """Refuse a change of state that cannot be.

    Args:
        request: its id.
        before: present state.
        after: wanted state.

    Raises:
        UsageError: if ``after`` cannot follow.
    """
    if after not in NEXT[before]:
        raise UsageError(f"{request} is {before}; it cannot become {after}")
