"""The first page, with all requests by due date; and the form of a new one."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import catalogue
from neuralyzer.service import figures
from neuralyzer.service.api import requests as api
from neuralyzer.service.api.forms import NewRequest, RequestView
from neuralyzer.service.context import Here
from neuralyzer.service.pages import shell, way
from neuralyzer.service.pages.fields import Form
from neuralyzer.service.states import CLOSED, State

routes = APIRouter(route_class=shell.PageRoute, include_in_schema=False)
SHOWN = 50  # requests of a page
REASONS = ("privacy", "bias", "stale", "poison")


@routes.get("/")
def home(
    here: Here,
    visitor: shell.Reading,
    state: State | None = None,
    closed: bool = False,
    start: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """Show requests by due date, so that late ones are in front."""
    states = [state] if state is not None else [one for one in State if (one in CLOSED) == closed]
    found = here.requests.find(states, start=start, limit=SHOWN + 1)
    counts = here.requests.count()
    approve = here.settings.approve
    rows = [(RequestView.of(one, visitor.token), way.tone(one), way.awaits(one, approve)) for one in found[:SHOWN]]
    return shell.show(
        here, "home", visitor, rows=rows, counts=counts, state=state, closed=closed, start=start, at="home",
        following=start + SHOWN if len(found) > SHOWN else None, far=way.FAR, late=figures.late(here.requests.database, way.today()),
        open=sum(count for one, count in counts.items() if one not in CLOSED),
    )  # fmt: skip


@routes.get("/new")
def new(here: Here, visitor: shell.Requesting) -> Response:
    """Show the form of a new request."""
    return shell.show(
        here, "new", visitor, key=secrets.token_hex(16), reasons=REASONS, guarantees=list(Guarantee),
        methods=sorted(catalogue.names()), at="new",
    )  # fmt: skip


@routes.post("/new")
def create(here: Here, visitor: shell.Requesting, form: Form) -> Response:
    """Take in a request as the API does; the form sent twice makes one."""
    given = form.given("guarantee", "reason", "method", "received", "due", "priority", "where")
    lists = {name: form.lines(name) for name in ("subjects", "rows", "classes")}
    try:
        asked = NewRequest(**lists, **given, also_near=form.text("also_near") == "yes")  # type: ignore[arg-type]
    except ValidationError as error:
        raise RequestValidationError([one | {"loc": ("form", *one["loc"])} for one in error.errors()]) from None
    made = api.create(asked, here, visitor.token, Response(), form.text("key") or None)
    return shell.away(f"/cases/{made.id}")
