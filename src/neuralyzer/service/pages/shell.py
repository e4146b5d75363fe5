"""What every page shares: who looks at it, how it is rendered, and how errors are shown."""

import datetime as dt
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import jinja2
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException

from neuralyzer.errors import NeuralyzerError
from neuralyzer.report import page
from neuralyzer.service.api import problems
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import COOKIE
from neuralyzer.service.context import Service
from neuralyzer.service.sessions import Session
from neuralyzer.service.tokens import Scope, Token

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",  # a form tells the server that it came from here, and others learn nothing
}
OWN = re.compile(r"/(?:cases/req-[0-9a-f]{16}|models|ledger|claim|subject|settings|new)?", re.ASCII)
# A page's colours follow its theme; those of the report's charts are replaced by the page's own.
COLOURS = {
    "#1d2733": "--ink", "#566273": "--muted", "#d9dee5": "--line", "#eef1f4": "--line", "#dde2e9": "--band",
    "#c0392b": "--red", "#1f8a5b": "--green", "#66727f": "--muted", "#1d4f91": "--bright", "#a3acb8": "--muted",
}  # fmt: skip


class SignedOut(Exception):
    """Nobody is signed in."""


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page.

    Attributes:
        token: that the session was begun with, as it is in the database now.
        session: of the browser.
    """

    token: Token
    session: Session

    def may(self, scope: str) -> bool:
        """Return whether the token has a scope."""
        return self.token.allows(Scope(scope))


def needs(scope: Scope) -> object:
    """Return a dependency: the visitor, whose token must have a scope."""

    def allowed(request: Request) -> Visitor:
        token, session = request.state.token, getattr(request.state, "session", None)
        if token is None or session is None:
            raise SignedOut
        if not token.allows(scope):
            raise Problem(403, f"this needs a token with the scope {scope}; yours has {', '.join(token.scopes)}")
        return Visitor(token, session)

    return Depends(allowed)


Reading = Annotated[Visitor, needs(Scope.READ)]
Requesting = Annotated[Visitor, needs(Scope.REQUEST)]
Approving = Annotated[Visitor, needs(Scope.APPROVE)]


class PageRoute(APIRoute):
    """A route that shows errors as pages, and leads to the sign-in whom it does not know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
            except SignedOut:
                if request.url.path.endswith("/stream"):
                    return Response(status_code=204)  # a browser then asks for no more events
                to = request.url.path if OWN.fullmatch(request.url.path) else "/"
                return RedirectResponse(f"/sign-in?to={to}", 303, HEADERS)
            except (Problem, RequestValidationError, HTTPException, NeuralyzerError, NoConnection) as error:
                return _problem(request, problems.of(error))
            _renew(request, response)
            return response

        return answer


def render(
    here: Service, template: str, visitor: Visitor | None, session: Session, status: int = 200, **context: Any
) -> Response:
    """Return a page.

    Args:
        here: the service.
        template: its name.
        visitor: who looks at it; None for who has not signed in.
        session: of the browser.
        status: of the answer.
        **context: of the template.

    Returns:
        The answer.
    """
    shared = {
        "visitor": visitor, "guard": here.sessions.guard_of(session), "model": here.settings.model,
        "today": dt.datetime.now(dt.UTC).date(), "at": "",
    }  # fmt: skip
    html = _templates.get_template(f"{template}.html.j2").render(shared | context)
    return HTMLResponse(html, status, HEADERS)


def show(here: Service, template: str, visitor: Visitor, status: int = 200, **context: Any) -> Response:
    """Return a page for somebody who is signed in, see ``render``."""
    return render(here, template, visitor, visitor.session, status, **context)


def away(path: str) -> Response:
    """Return the answer to a form that was done: the browser asks for a page next, and a reload sends nothing again."""
    return RedirectResponse(path, 303, HEADERS)


def set_cookie(request: Request, response: Response, text: str) -> None:
    """Give a browser the cookie of its session."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, text, path="/", secure=secure, httponly=True, samesite="strict")


def themed(svg: str) -> str:
    """Return a chart of the report in the colours of the page's theme."""
    return re.sub(r'"(#[0-9a-f]{6})"', lambda found: f'"var({COLOURS.get(found[1], "--ink")})"', svg)


def _problem(request: Request, problem: Problem) -> Response:
    here: Service = request.app.state.service
    token, session = request.state.token, getattr(request.state, "session", None)
    visitor = Visitor(token, session) if token is not None and session is not None else None
    back = "/" if visitor is not None else "/sign-in"
    if (origin := re.match(r"(/cases/req-[0-9a-f]{16})/", request.url.path)) and visitor is not None:
        back = origin[1]
    some = session or here.sessions.begin()[0]
    said = [problem.detail, *(f"{error['pointer'].split('/', 1)[-1]}: {error['detail']}" for error in problem.errors)]
    shown = render(here, "problem", visitor, some, problem.status, said=said, back=back)
    shown.headers.update(problem.headers)
    return shown


def _renew(request: Request, response: Response) -> None:
    here: Service = request.app.state.service
    session = getattr(request.state, "session", None)
    used = "x-update" not in request.headers  # a page that is left open brings itself up to date, which is no use of it
    if used and session is not None and request.state.token is not None and "set-cookie" not in response.headers:
        text = here.sessions.renewed(session)
        if text is not None:
            set_cookie(request, response, text)


def _moment(text: str | None) -> str:
    """Return a moment to the minute, in UTC."""
    if not text:
        return ""
    moment = dt.datetime.fromisoformat(text)
    moment = moment if moment.tzinfo is None else moment.astimezone(dt.UTC)
    return f"{moment:%d %b %Y, %H:%M}" if len(text) > 10 else f"{moment:%d %b %Y}"


def _day(day: dt.date) -> str:
    return f"{day:%d %b %Y}"


def _shortly(text: str) -> str:
    return f"{dt.datetime.fromisoformat(text).astimezone(dt.UTC):%d %b, %H:%M}"


def _briefly(text: str) -> str:
    """Return a text, of a long digest only its beginning; the API has the whole."""
    return f"{text[:16]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def _made() -> jinja2.Environment:
    """Return the templates; all that is not marked as safe is escaped, and a missing name is an error."""
    made = page.environment().overlay(loader=jinja2.PackageLoader("neuralyzer.service.pages", "templates"))
    made.filters |= {"moment": _moment, "day": _day, "shortly": _shortly, "briefly": _briefly}
    return made


_templates = _made()
