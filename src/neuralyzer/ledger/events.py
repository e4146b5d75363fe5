"""The events that a ledger records, and what may be told of them: no name, no row, no number that could be looked up."""

import datetime as dt
import json
import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from neuralyzer.errors import LedgerError
from neuralyzer.trace.verdict import Verdict


class Event(StrEnum):
    """What can happen to a case or to the weights that came of it."""

    RECEIVED = "received"
    LOCATED = "located"
    AUDITED = "audited"
    PLANNED = "planned"
    APPROVED = "approved"
    UNLEARNED = "unlearned"
    VERIFIED = "verified"
    CERTIFIED = "certified"
    RELEASED = "released"
    ROLLED_BACK = "rolled back"
    PURGED = "purged"
    DESTROYED = "destroyed"
    REFUSED = "refused"
    EXTENDED = "extended"
    CANCELLED = "cancelled"
    ESCALATED = "escalated"
    OVERRULED = "overruled"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a case was extended, refused, cancelled, escalated or overruled; articles are the GDPR's."""

    COMPLEX = "complex"  # 12(3)
    MANY_REQUESTS = "many requests"  # 12(3)
    UNFOUNDED = "manifestly unfounded"  # 12(5)
    EXCESSIVE = "excessive"  # 12(5)
    UNIDENTIFIED = "subject not identified"  # 12(6)
    EXPRESSION = "freedom of expression"  # 17(3)(a)
    LEGAL_OBLIGATION = "legal obligation"  # 17(3)(b)
    PUBLIC_HEALTH = "public health"  # 17(3)(c)
    ARCHIVING = "archiving, research or statistics"  # 17(3)(d)
    LEGAL_CLAIMS = "legal claims"  # 17(3)(e)
    WITHDRAWN = "withdrawn"
    DUPLICATE = "duplicate"
    NOT_FOUND = "no data found"
    NOT_FORGOTTEN = "not forgotten"
    NOT_ACCEPTED = "acceptance test failed"
    RETENTION = "retention ended"
    ERROR = "error"
    OTHER = "other"


class Approval(StrEnum):
    """When a person approved."""

    BEFORE_UNLEARN = "before unlearning"
    BEFORE_RELEASE = "before release"


def _day(text: str) -> str:
    dt.date.fromisoformat(text)
    return text


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_day)]
METHOD = re.compile(r"[a-z0-9]+([-+][a-z0-9]+)*")
SEALED = ("result", "by")  # fields that are kept as keyed commitments, see Subjects.sealed


def _method(name: str) -> str:
    from neuralyzer.methods import catalogue  # here, since it imports torch, and is seldom needed

    if not set(name.split("+")) <= set(catalogue.names()):
        raise ValueError("there is no such method")
    return name


class Facts(BaseModel):
    """What an entry tells besides its event and time; whatever is None is left out.

    Attributes:
        weights: SHA-256 of the weights that the event is about, as the certificate has it.
        before: SHA-256 of the weights or the data set version that was there before.
        verdict: on the weights.
        method: name of the algorithm.
        reason: code.
        stage: of an approval.
        received: the day on which the request came in.
        due: the day by which it must be answered, or to which that was extended.
        until: the day on which what is kept will be destroyed.
        certificate: SHA-256 of the signed certificate.
        result: SHA-256 of the stage's result in the case's folder. It could be guessed, so a commitment is kept.
        by: who decided. A commitment is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Digest | None = None
    before: Digest | None = None
    verdict: Verdict | None = None
    method: Annotated[str, AfterValidator(_method)] | None = None
    reason: Reason | None = None
    stage: Approval | None = None
    received: Day | None = None
    due: Day | None = None
    until: Day | None = None
    certificate: Digest | None = None
    result: Digest | None = None
    by: str | None = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise LedgerError(
                f"the ledger does not take {place}: {first['msg']}; it keeps no names and no rows"
            ) from None

    def told(self) -> dict[str, str]:
        """Return the fields that are set, as plain values."""
        return self.model_dump(mode="json", exclude_none=True)


def body(event: Event, at: str, told: dict[str, str], marks: list[str]) -> bytes:
    """Return an entry's body: canonical JSON in one line.

    Args:
        event: what happened.
        at: when, ISO 8601.
        told: facts.
        marks: of the subjects.

    Returns:
        Its bytes; equal for equal arguments.
    """
    content = {"event": str(event), "at": at, "facts": told, "subjects": marks}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def same_event(known: bytes, told_again: bytes) -> bool:
    """Return whether two bodies tell the same, whenever they tell it: a step that runs again has a later clock."""
    return {**json.loads(known), "at": None} == {**json.loads(told_again), "at": None}
