"""A case's page: its way, what moves, what is to be decided, and what may be taken away."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import ValidationError

from neuralyzer.report import charts
from neuralyzer.report.page import families_of
from neuralyzer.service import deadlines, history
from neuralyzer.service.api import cases as api
from neuralyzer.service.api import events as streams
from neuralyzer.service.api.cases import Id
from neuralyzer.service.api.forms import Approval, EventView, Reason, RequestView
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.context import Here, Service
from neuralyzer.service.pages import shell, way
from neuralyzer.service.pages.fields import Fields, Form
from neuralyzer.service.request import Event
from neuralyzer.service.request import Request as Asked
from neuralyzer.service.settings import Approve
from neuralyzer.service.states import APPROVED_IN, CLOSED, WORKED_ON, State
from neuralyzer.service.tokens import Scope

routes = APIRouter(prefix="/cases/{id}", route_class=shell.PageRoute, include_in_schema=False)
Number = Annotated[int, Query(ge=0, lt=10**18)]
Last = Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$")]
OPTIONS = 12  # that a page shows


@routes.get("")
def show(id: Id, here: Here, visitor: shell.Reading) -> Response:
    """Show a case."""
    request = api.known(here, id)
    database = here.requests.database
    events = history.happened(database, id)
    now = way.present(request, events)
    moves = history.moved(database, id, now[0].number) if now else []
    views = [EventView.of(event, visitor.token) for event in way.record(events)]
    result = _result(here, request)
    families = _families(now)
    return shell.show(
        here, "case", visitor, at="home", request=RequestView.of(request, visitor.token), tone=way.tone(request),
        told=way.TOLD[request.state], stops=way.stops(request, events, here.settings.approve), views=views,
        step=way.step(events, moves) if request.state in WORKED_ON else None, losses=way.losses(moves), families=families,
        chart=_chart(json.dumps(families)) if families else None, options=_options(now),
        measured=any(event.kind == "attempt" and event.facts.get("families") for event in now),
        planned=_planned(now),
        answers=_answers(result, visitor), open=_open(request, here, visitor), approve=str(here.settings.approve),
        report=bool(result) and visitor.may(Scope.REQUEST), certificate=bool(result.get("certificate")),
        after=max((event.number for event in [*events[-1:], *moves[-1:]]), default=0), live=request.state not in CLOSED,
    )  # fmt: skip


@routes.get("/stream")
async def stream(
    id: Id, request: Request, here: Here, visitor: shell.Reading, after: Number = 0, last: Last = None
) -> Response:
    """Tell the case's events as the API does, after the one that the page has seen."""
    seen = last if last is not None else str(after)
    return await streams.events(id, request, here, visitor.token, seen)


@routes.get("/report", response_class=FileResponse)
def report(id: Id, here: Here, visitor: shell.Requesting) -> FileResponse:
    """Give the report; its own policy allows it no script and no other file."""
    return api.report(id, here, visitor.token)


@routes.get("/certificate", response_class=FileResponse)
def certificate(id: Id, here: Here, visitor: shell.Reading) -> FileResponse:
    """Give the signed certificate."""
    return api.certificate(id, here, visitor.token)


@routes.post("/approve")
def approve(id: Id, here: Here, visitor: shell.Approving, form: Form) -> Response:
    """Approve what comes next."""
    try:
        given = Approval(method=form.text("method") or None)
    except ValidationError:
        raise Problem(422, "this is no method") from None
    now = way.present(api.known(here, id), history.happened(here.requests.database, id))
    same = given.method == _planned(now)["method"]  # of which nothing is changed
    api.approve(id, Approval() if same else given, here, visitor.token)
    return shell.away(f"/cases/{id}")


@routes.post("/cancel")
def cancel(id: Id, here: Here, visitor: shell.Requesting, form: Form) -> Response:
    """Cancel the request."""
    api.cancel(id, _reason(form), here, visitor.token)
    return shell.away(f"/cases/{id}")


@routes.post("/extend")
def extend(id: Id, here: Here, visitor: shell.Approving, form: Form) -> Response:
    """Extend the due date."""
    api.extend(id, _reason(form), here, visitor.token)
    return shell.away(f"/cases/{id}")


@routes.post("/refuse")
def refuse(id: Id, here: Here, visitor: shell.Approving, form: Form) -> Response:
    """Refuse the request."""
    api.refuse(id, _reason(form), here, visitor.token)
    return shell.away(f"/cases/{id}")


@routes.post("/again")
def again(id: Id, here: Here, visitor: shell.Approving, form: Form) -> Response:
    """Take the request up again."""
    api.again(id, here, visitor.token)
    return shell.away(f"/cases/{id}")


def _reason(form: Fields) -> Reason:
    try:
        return Reason(reason=form.text("reason"))
    except ValidationError:
        raise Problem(422, "give a reason of at most 500 characters; it is part of the record") from None


def _open(request: Asked, here: Service, visitor: shell.Visitor) -> set[str]:
    """Return what this visitor can decide now."""
    found = set()
    if visitor.may(Scope.REQUEST) and request.state not in CLOSED and request.stop is None:
        found.add("cancel")
    if not visitor.may(Scope.APPROVE):
        return found
    # A plan that waits for its turn alone may be changed too; a release goes on by itself where none is needed.
    approvable = request.state is State.PLANNED or here.settings.approve is Approve.BEFORE_RELEASE
    if request.state in APPROVED_IN and request.approved is None and approvable:
        found.add("approve")
    if request.state not in (*CLOSED, *WORKED_ON):
        found.add("refuse")
    first_month = way.today() <= deadlines.due(request.received.date())
    if request.state not in CLOSED and request.extended is None and first_month:
        found.add("extend")
    if request.state is State.NEEDS_PERSON:
        found.add("again")
    return found


def _planned(events: Sequence[Event]) -> dict[str, Any]:
    """Return what was told of the newest plan."""
    plans = [event.facts for event in events if event.kind == "planned"]
    return {"method": None, "together": 1, "note": ""} | (dict(plans[-1]) if plans else {})


def _options(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return the options of the newest plan, the chosen one first."""
    plans = [event.facts["options"] for event in events if event.kind == "planned" and "options" in event.facts]
    blank = {"seconds": None, "trace": None, "utility": None, "reason": "", "guarantee": "", "chosen": False}
    options = [blank | option for option in plans[-1]] if plans else []
    return sorted(options, key=lambda option: not option["chosen"])[:OPTIONS]


def _families(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return what was measured of each family so far: of the original, and by the newest verification."""
    audits = [event.facts for event in events if event.kind == "audit" and event.facts.get("families")]
    attempts = [event.facts for event in events if event.kind == "attempt" and event.facts.get("families")]
    return families_of({"audit": audits[-1] if audits else None, "verification": attempts[-1] if attempts else None})


@lru_cache(maxsize=32)
def _chart(families: str) -> Mapping[str, str] | None:
    """Draw the families; drawn charts are kept, since every look at a page needs them."""
    drawing = charts.traces(json.loads(families))
    if drawing is None:
        return None
    return {"wide": shell.themed(drawing.wide), "narrow": shell.themed(drawing.narrow), "says": drawing.says}


def _result(here: Service, request: Asked) -> dict[str, Any]:
    """Return the case's result; empty while there is none."""
    folder = api.folder_of(here, request, "result")
    return {} if folder is None else dict(folder.read("result"))


def _answers(result: Mapping[str, Any], visitor: shell.Visitor) -> Mapping[str, Any] | None:
    """Return sample answers of a language model; they may hold what is to be erased, so a reader has none."""
    answers: Mapping[str, Any] | None = result.get("answers")
    return answers if visitor.may(Scope.REQUEST) else None
