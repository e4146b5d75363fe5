"""Signing in with a token, and out; and the two files that every page loads."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import COOKIE
from neuralyzer.service.context import Here
from neuralyzer.service.pages import shell
from neuralyzer.service.pages.fields import Form
from neuralyzer.workspace import digests

routes = APIRouter(route_class=shell.PageRoute, include_in_schema=False)
FILES = {"style.css": "text/css", "pages.js": "text/javascript"}


@routes.get("/sign-in")
def sign_in(request: Request, here: Here, to: str = "/") -> Response:
    """Ask for a token; the form's own session shows that it comes from here."""
    return _asked(request, here, to, "")


@routes.post("/sign-in")
def signed_in(request: Request, here: Here, form: Form) -> Response:
    """Begin a session; the token's secret is forgotten at once."""
    to = form.text("to")
    token = here.tokens.verified(form.text("secret"))
    if token is None:
        return _asked(request, here, to, "This is no token that is valid. It may have expired, or have been revoked.")
    answer = shell.away(to if shell.OWN.fullmatch(to) else "/")
    shell.set_cookie(request, answer, here.sessions.begin(token.id)[1])  # a new one, whatever was there before
    return answer


@routes.post("/sign-out")
def sign_out(request: Request, here: Here, form: Form) -> Response:
    """End the session."""
    here.sessions.end(request.state.session)
    answer = shell.away("/sign-in")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@routes.get("/static/{name}")
def static(name: Literal["style.css", "pages.js"], request: Request) -> Response:
    """Give one of the two files; a browser that has it asks only whether it has changed."""
    content, tag = _file(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=FILES[name])


@routes.get("/favicon.ico")
def icon() -> Response:
    """Say that there is none; the pages name their own."""
    raise Problem(404, "there is nothing here")


def _asked(request: Request, here: Here, to: str, wrong: str) -> Response:
    session, text = here.sessions.begin()
    to = to if shell.OWN.fullmatch(to) else "/"
    answer = shell.render(here, "sign_in", None, session, 403 if wrong else 200, to=to, wrong=wrong)
    shell.set_cookie(request, answer, text)
    return answer


@lru_cache
def _file(name: str) -> tuple[bytes, str]:
    content = (Path(__file__).parent / "static" / name).read_bytes()
    return content, f'"{digests.of_bytes(content)[:16]}"'
