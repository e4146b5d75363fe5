"""``/v1/requests``: takes in requests, and lists them."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field, StringConstraints

from neuralyzer.data.request import ErasureRequest
from neuralyzer.methods import catalogue
from neuralyzer.service.api import problems
from neuralyzer.service.api.forms import Absent, Name, NewRequest, Page, RequestView
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Reader, Requester
from neuralyzer.service.context import Here
from neuralyzer.service.states import CLOSED, State

routes = APIRouter(prefix="/v1/requests", tags=["requests"])
Key = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")] | Absent,
    Header(alias="Idempotency-Key", description="A second request with it is the first one."),
]
States = Annotated[list[State], Field(max_length=len(State))] | Absent


@routes.post("", status_code=201, responses=problems.ANSWERS | {200: {"model": RequestView}})
def create(form: NewRequest, here: Here, token: Requester, response: Response, key: Key = None) -> RequestView:
    """Take in a request to forget; 200 and the first request if the Idempotency-Key was used for the same one."""
    named = {
        name: getattr(form, name)
        for name in ("subjects", "rows", "classes", "where", "guarantee", "reason", "also_near")
    }
    model = here.settings.model if form.model is None else form.model
    if model != here.settings.model:
        raise Problem(409, f"there is no such model; this service has {here.settings.model}")
    if form.method is not None and form.method not in catalogue.names():
        raise Problem(409, "there is no such method; GET /v1/models lists them")
    today = dt.datetime.now(dt.UTC)
    dates = {name: value.isoformat() for name in ("received", "due") if (value := getattr(form, name)) is not None}
    erasure = ErasureRequest(**named, **dates)
    received = None if form.received in (None, today.date()) else dt.datetime.combine(form.received, dt.time(), dt.UTC)
    request, new = here.requests.create(
        model, erasure, token.id, received=received, priority=form.priority, key=key, method=form.method
    )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/cases/{request.id}"
    return RequestView.of(request, token)


@routes.get("", responses=problems.ANSWERS)
def find(
    here: Here,
    token: Reader,
    state: Annotated[States, Query(description="Only these; repeat for several.")] = None,
    open: Annotated[bool, Query(description="Only those that are not closed.")] = False,
    model: Annotated[Name | Absent, Query()] = None,
    start: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page:
    """List requests, the earliest due date first, so that late ones are in front."""
    states = None if state is None and not open else [one for one in state or State if not (open and one in CLOSED)]
    found = here.requests.find(states, model, start=start, limit=limit + 1)
    following = start + limit if len(found) > limit else None
    return Page(requests=[RequestView.of(one, token) for one in found[:limit]], next=following)
