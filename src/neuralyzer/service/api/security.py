"""``Guard``: stands before the application; who asks, how often, how much, and what may be logged of it.

The log has method, route, status, time and the token's id: never the path that a client wrote, a query or a body.
"""

import logging
import math
import re
import time
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neuralyzer.service.api import limits, problems
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.context import Service
from neuralyzer.service.sessions import Session
from neuralyzer.service.tokens import Scope as Allowed
from neuralyzer.service.tokens import Token

API = ("/v1/", "/opendsr/", "/fides/", "/metrics")  # paths that need a token, and take JSON alone
OPEN = ("/opendsr/discovery", "/opendsr/certificate.pem")
IN_URL = re.compile(rb"nz_[0-9a-f]{12}_|(?:^|[&?;])(?:access_token|token|api_key)=", re.IGNORECASE)
ONCE = (b"authorization", b"content-length", b"content-type", b"host", b"idempotency-key", b"last-event-id")
COOKIE = "neuralyzer"  # of the dashboard's session
WITHOUT = 10  # where a token is needed, an address without a valid one may ask this part of what a token may
STRICT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
log = logging.getLogger("neuralyzer.access")
bearer = HTTPBearer(auto_error=False, description="A token of 'neuralyzer token new'.")


class Guard:
    """Middleware that admits a request or answers it with a problem.

    Args:
        app: that is guarded.
        service: has the tokens and the limits.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._rates = app, service, limits.Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a web socket is refused by not being accepted
        reply, began = _Reply(send), time.perf_counter()
        scope.setdefault("state", {})
        try:
            await self._app(scope, await self._admitted(scope, receive), reply)
        except Exception as error:  # noqa: BLE001  the server would log the text of an error, which may name people
            problem = problems.of(error)
            if reply.status == 0:
                await problem.response(scope["path"])(scope, receive, reply)
        finally:
            _log(scope, reply.status, time.perf_counter() - began)

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        """Check all that can be checked before the application, and return how it reads the body."""
        url = scope.get("raw_path", b"") + b"?" + scope["query_string"]
        if IN_URL.search(unquote_to_bytes(url)) or IN_URL.search(url):
            raise Problem(
                400, "a token came in the URL, where others log it; revoke it, and send a new one in the header"
            )
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in ONCE):
            raise Problem(400, "a header came twice")
        guarded = scope["path"].startswith(API)
        token = await self._token(scope)
        wait = self._wait(scope, token, guarded)
        if wait:
            raise Problem(429, "too many requests; wait", {"Retry-After": str(math.ceil(wait))})
        if guarded and token is None and scope["path"] not in OPEN:
            raise Problem(401, "a valid token is needed: Authorization: Bearer nz_...", _challenge(scope))
        scope["state"]["token"] = token
        if not guarded:
            return limits.counted(scope, receive, self._service.settings.largest_upload)
        if not limits.has_body(scope):
            return receive
        kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Problem(415, "a body must be application/json")
        body = await limits.body_of(scope, receive, self._service.settings.largest_body)
        if limits.depth(body) > limits.DEPTH:
            raise Problem(400, f"lists and objects may lie {limits.DEPTH} deep in each other")
        return limits.replayed(body, receive)

    def _wait(self, scope: Scope, token: Token | None, guarded: bool) -> float:
        """Return the seconds that a client must wait: by its token, else by its address."""
        address, rate = (scope.get("client") or ("nowhere", 0))[0], self._service.settings.rate
        if token is not None:
            return self._rates.wait(f"token {token.id}", rate)
        if guarded:
            return self._rates.wait(f"stranger {address}", rate / WITHOUT)
        return self._rates.wait(f"address {address}", rate)

    async def _token(self, scope: Scope) -> Token | None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        kind, _, text = given.partition(" ")
        if kind.lower() == "bearer":
            return await run_in_threadpool(self._service.tokens.verified, text.strip())
        # A browser sends its cookie with whatever another site makes it ask, so the API takes none.
        return None if scope["path"].startswith(API) else await self._signed_in(scope)

    async def _signed_in(self, scope: Scope) -> Token | None:
        """Return the token of the dashboard's session, and note the session."""
        cookie = HTTPConnection(scope).cookies.get(COOKIE, "")
        session, token = await run_in_threadpool(self._of_cookie, cookie)
        scope["state"]["session"] = session
        return token

    def _of_cookie(self, text: str) -> tuple[Session | None, Token | None]:
        session = self._service.sessions.read(text)
        return session, self._service.tokens.still(session.token) if session else None


class _Reply:
    """Sends an answer with strict headers, and notes its status."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in STRICT.items():
                headers.setdefault(name, value)
        await self._send(message)


def needs(scope: Allowed) -> object:
    """Return a dependency: the token of a request, which must have a scope."""

    def allowed(request: Request, _: Annotated[object, Security(bearer)] = None) -> Token:
        token: Token | None = request.state.token
        if token is None:
            raise Problem(401, "a valid token is needed: Authorization: Bearer nz_...", _challenge(request.scope))
        if not token.allows(scope):
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
            raise Problem(403, f"the token lacks the scope {scope}", challenge)
        return token

    return Security(allowed)


Reader = Annotated[Token, needs(Allowed.READ)]
Requester = Annotated[Token, needs(Allowed.REQUEST)]
Approver = Annotated[Token, needs(Allowed.APPROVE)]


def _challenge(scope: Scope) -> dict[str, str]:
    """Return what RFC 6750, section 3, tells a client: that its token is wrong only where it gave one."""
    given = any(name == b"authorization" for name, _ in scope["headers"])
    return {"WWW-Authenticate": 'Bearer error="invalid_token"' if given else "Bearer"}


def _log(scope: Scope, status: int, seconds: float) -> None:
    token = scope["state"].get("token")
    route = getattr(scope.get("route"), "path", "(no route)")
    method = scope["method"] if scope["method"].isalpha() else "?"
    who = token.id if isinstance(token, Token) else "-"
    log.info("%s %s %d %.0f ms %s", method[:10], route, status, 1000 * seconds, who)
