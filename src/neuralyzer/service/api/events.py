"""``/v1/cases/{id}/events``: a request's events as they come, as server-sent events that can be resumed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import StringConstraints

from neuralyzer.service.api import problems
from neuralyzer.service.api.cases import Id, known
from neuralyzer.service.api.forms import Absent, EventView
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Reader
from neuralyzer.service.context import Here, Service
from neuralyzer.service.states import CLOSED
from neuralyzer.service.tokens import Token

QUIET = 15.0  # seconds after which a stream says that it is alive, and asks whether its token still is valid
STREAMS = 1000  # open at once in one process

routes = APIRouter(prefix="/v1/cases/{id}", tags=["cases"], responses=problems.ANSWERS)
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
Last = Annotated[Number | Absent, Header(alias="Last-Event-ID")]
STREAM = {"description": "Events; the last one, closed, comes when no more will.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}  # fmt: skip
HEADERS = {"X-Accel-Buffering": "no"}  # a proxy passes each event on at once
SEEN = {"description": "All events were seen, and no more will come.", "content": {}}


@routes.get("/events", response_class=StreamingResponse, responses={200: STREAM, 204: SEEN})
async def events(id: Id, request: Request, here: Here, token: Reader, last: Last = None) -> Response:
    """Tell the events of a request after the one that the client saw last, until the request is closed."""
    after = int(last or 0)
    present = await run_in_threadpool(known, here, id)
    if present.state in CLOSED and not await run_in_threadpool(here.requests.events, id, after, 1):
        return Response(status_code=204)  # a browser then asks no more
    if here.feed.streams >= STREAMS:
        raise Problem(503, "too many streams are open; poll /v1/cases instead", {"Retry-After": "30"})
    return StreamingResponse(told(here, id, token, after), media_type="text/event-stream", headers=HEADERS)


async def told(here: Service, id: str, token: Token, after: int = 0) -> AsyncIterator[bytes]:
    """Yield a request's events in the form of server-sent events.

    Args:
        here: the service.
        id: of the request.
        token: which must stay valid.
        after: number of the last event that is known.

    Yields:
        Events as bytes, and comments while nothing happens.
    """
    async with here.feed.listening(id) as news:
        checked = time.monotonic()
        while True:
            news.clear()
            state = (await run_in_threadpool(here.requests.get, id)).state  # before its events, so that none is missed
            while found := await run_in_threadpool(here.requests.events, id, after):
                for event in found:
                    after = event.number
                    data = EventView.of(event, token).model_dump_json()
                    yield format_sse_event(data_str=data, event=event.kind, id=str(after))
            if state in CLOSED:
                yield format_sse_event(data_str=f'{{"state":"{state}"}}', event="closed")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), QUIET)
            if time.monotonic() - checked >= QUIET:
                if await run_in_threadpool(here.tokens.still, token.id) is None:
                    return
                checked = time.monotonic()
                yield KEEPALIVE_COMMENT
