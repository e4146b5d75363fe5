"""Limits of the API: requests a minute, and the size and depth of a body."""

import asyncio
import re
import time
from collections import OrderedDict

from starlette.types import Message, Receive, Scope

from neuralyzer.service.api.problems import Problem

REMEMBERED = 10_000  # tokens and addresses; the one that was heard of longest ago is forgotten
DEPTH = 32  # of lists and objects in each other
PATIENCE = 30.0  # seconds for a body to arrive
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # one that does not end goes on to the end
BRACKETS = re.compile(rb"[][{}]")


class Rates:
    """How many requests may come: buckets of a minute's worth that fill up evenly.

    They are kept in the memory of one process; several processes allow as many times more.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, who: str, a_minute: float, now: float | None = None) -> float:
        """Take one request out of a bucket.

        Args:
            who: a token or an address.
            a_minute: requests that the bucket holds, and that flow into it in a minute.
            now: seconds of a clock that does not go back.

        Returns:
            Seconds after which a request can be taken; 0 if one was.
        """
        now = time.monotonic() if now is None else now
        left, then = self._left.pop(who, (a_minute, now))
        left = min(a_minute, left + (now - then) * a_minute / 60)
        allowed = left >= 1
        self._left[who] = (left - 1 if allowed else left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / a_minute


def has_body(scope: Scope) -> bool:
    """Return whether a request brings a body."""
    names = dict(scope["headers"])
    return b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"


async def body_of(scope: Scope, receive: Receive, largest: int) -> bytes:
    """Read a body that is not too large.

    Args:
        scope: of the request.
        receive: gives the body in parts, which need not say their size beforehand.
        largest: bytes.

    Returns:
        The body.

    Raises:
        Problem: 413 if it is larger, 408 if it does not arrive, 400 if the client breaks off or says no size.
    """
    said = dict(scope["headers"]).get(b"content-length", b"0")
    if not said.isdigit():
        raise Problem(400, "Content-Length is no number")
    too_large = Problem(413, f"a body may have {largest:,} bytes", {"Connection": "close"})
    if int(said[:20]) > largest:
        raise too_large
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(PATIENCE):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "the body broke off")
                parts.append(message.get("body", b""))
                size, more = size + len(parts[-1]), message.get("more_body", False)
                if size > largest:
                    raise too_large
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {PATIENCE:.0f} s", {"Connection": "close"}) from None
    return b"".join(parts)


def counted(scope: Scope, receive: Receive, largest: int) -> Receive:
    """Return a ``receive`` that gives a body in parts, and raises a problem (413) where it is larger than allowed."""
    too_large = Problem(413, f"a body may have {largest:,} bytes", {"Connection": "close"})
    said = dict(scope["headers"]).get(b"content-length", b"0")
    if not said.isdigit() or int(said[:20]) > largest:
        raise too_large
    size = 0

    async def give() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > largest:
            raise too_large
        return message

    return give


def depth(body: bytes) -> int:
    """Return how deeply lists and objects lie in each other in JSON; brackets in strings do not count."""
    now = deepest = 0
    for bracket in BRACKETS.findall(STRINGS.sub(b"", body)):
        now += 1 if bracket in b"[{" else -1
        deepest = max(deepest, now)
    return deepest


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body that was read, and then what comes after it."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
