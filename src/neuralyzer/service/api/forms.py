"""The forms of what the API takes and gives."""

import datetime as dt
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from neuralyzer.data.request import Guarantee
from neuralyzer.service.decisions import REASON
from neuralyzer.service.request import Event, Request
from neuralyzer.service.states import APPROVED_IN, State
from neuralyzer.service.tokens import Scope, Token

ID = r"^req-[0-9a-f]{16}$"
LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"  # one line: no control characters, which could forge a log
TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f]*[^\x00-\x20\x7f\s][^\x00-\x08\x0b-\x1f\x7f]*$"  # lines, of which one says something
MANY, LONG = 1000, 500  # names of one kind, characters of a name
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONG, pattern=LINE)]
Absent = SkipJsonSchema[None]  # of a header or a query: it is left out, never null
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,39}$")]
Method = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+_-]{0,79}$")]
WORDS = ("reason", "message")  # facts that a person or an error wrote, which may name somebody


class Form(BaseModel):
    """A body that has no other fields than those named here."""

    model_config = ConfigDict(extra="forbid", strict=False)


SOMETHING: list[JsonValue] = [
    {"required": [name], "properties": {name: {"minItems": 1}}} for name in ("subjects", "rows", "classes")
]
SOMETHING += [{"required": ["where"], "properties": {"where": {"type": "string"}}}]


class NewRequest(Form):
    """A request to forget; it names subjects, rows, classes or a predicate."""

    model_config = ConfigDict(json_schema_extra={"anyOf": SOMETHING})

    subjects: list[Name] = Field([], max_length=MANY)
    rows: list[Name] = Field([], max_length=MANY)
    classes: list[Name] = Field([], max_length=MANY)
    where: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=LINE)] | None = None
    also_near: bool = False
    guarantee: Guarantee = Guarantee.WEAK
    reason: Word = "privacy"
    method: Method | None = None
    received: dt.date | None = None
    due: dt.date | None = None
    priority: int = Field(0, ge=0, le=9)
    model: Name | None = None

    @model_validator(mode="after")
    def _names_something(self) -> "NewRequest":
        if not (self.subjects or self.rows or self.classes or self.where):
            raise ValueError("a request names subjects, rows, classes or a predicate")
        return self


class Reason(Form):
    """Why, for the record and for the person who asked."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=REASON, pattern=TEXT)]


class Approval(Form):
    """An approval, perhaps of another option than the chosen one."""

    method: Method | None = None


class Search(Form):
    """A person to search for."""

    subject: Name


class RequestView(BaseModel):
    """A request. ``erasure``, ``message`` and ``extension_reason`` may name people: null without the scope request."""

    id: str
    model: str
    state: State
    received: dt.datetime
    due: dt.date
    late: bool
    extended: bool
    priority: int
    waits_for_approval: bool
    approved: str | None
    method: str | None
    batch: str | None
    case: str | None
    verdict: str | None
    tries: int
    client: str
    erasure: dict[str, Any] | None
    message: str | None
    extension_reason: str | None

    @classmethod
    def of(cls, request: Request, token: Token) -> "RequestView":
        """Return what a token may see of a request."""
        names = token.allows(Scope.REQUEST)
        erasure = request.erasure.to_dict() if names and request.erasure is not None else None
        plain = ("id", "model", "state", "received", "due", "priority", "approved", "method", "batch", "case", "verdict", "tries", "client")  # fmt: skip
        return cls(
            **{name: getattr(request, name) for name in plain},
            late=request.late(dt.datetime.now(dt.UTC).date()), extended=request.extended is not None,
            waits_for_approval=request.state in APPROVED_IN and request.approved is None, erasure=erasure,
            message=request.message if names else None, extension_reason=request.extended if names else None,
        )  # fmt: skip


class Page(BaseModel):
    """Requests, the earliest due date first, and where the next page starts; null after the last one."""

    requests: list[RequestView]
    next: int | None


class EventView(BaseModel):
    """An event; a reason or message in its facts may name people: absent without the scope request."""

    number: int
    request: str
    moment: str
    kind: str
    facts: dict[str, Any]

    @classmethod
    def of(cls, event: Event, token: Token) -> "EventView":
        """Return what a token may see of an event."""
        hidden = () if token.allows(Scope.REQUEST) or event.kind == "attempt" else WORDS  # its reason is a plan's own
        facts = {name: value for name, value in event.facts.items() if name not in hidden}
        return cls(number=event.number, request=event.request, moment=event.moment, kind=event.kind, facts=facts)
