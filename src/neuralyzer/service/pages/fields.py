"""The fields of a form that a browser sends, once it is sure that the form is one of ours."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from neuralyzer.service.api import limits
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.context import Here, Service
from neuralyzer.service.sessions import Session

LARGEST_UPLOAD = 16 << 20  # bytes of a claimant's rows
KINDS = ("application/x-www-form-urlencoded", "multipart/form-data")
ELSEWHERE = "this form came from another site, or from an old page; go back, load the page anew and try again"


class Fields:
    """The fields of a form.

    Args:
        data: as it was parsed.
    """

    def __init__(self, data: FormData) -> None:
        self._data = data

    def text(self, name: str) -> str:
        """Return a field without white space around it; empty where it was left empty."""
        value = self._data.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def lines(self, name: str) -> list[str]:
        """Return the lines of a field that are not empty."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]

    def given(self, *names: str) -> dict[str, str]:
        """Return those of some fields that were filled in."""
        return {name: text for name in names if (text := self.text(name))}

    def file(self, name: str) -> UploadFile:
        """Return an uploaded file.

        Raises:
            Problem: if there is none.
        """
        value = self._data.get(name)
        if not isinstance(value, UploadFile) or not value.filename:
            raise Problem(422, "choose a file")
        return value


async def read(request: Request, here: Here) -> AsyncIterator[Fields]:
    """Read a form of the dashboard.

    Args:
        request: with the form.
        here: the service.

    Yields:
        Its fields.

    Raises:
        Problem: 403 if it is not from one of our pages, 413 and 415 if it is too large or no form.
    """
    require_same_origin(request)
    session: Session | None = getattr(request.state, "session", None)
    if session is None:
        raise Problem(403, "your session is over, or your browser keeps no cookies; sign in again")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    uploads = kind == KINDS[1] and request.state.token is not None  # nobody else may send so much
    if kind != KINDS[0] and not uploads:
        raise Problem(415, "a page's form is expected")
    largest = LARGEST_UPLOAD if uploads else here.settings.largest_body
    body = await limits.body_of(request.scope, request.receive, largest)
    again = Request(request.scope, limits.replayed(body, request.receive))
    try:
        data = await again.form(max_files=1, max_fields=50)
    except MultiPartException:
        raise Problem(400, "the form cannot be read") from None
    try:
        if not _ours(here, session, data):
            raise Problem(403, ELSEWHERE)
        yield Fields(data)
    finally:
        await data.close()


Form = Annotated[Fields, Depends(read)]


def require_same_origin(request: Request) -> None:
    """Refuse a form that does not come from this site, or from no browser.

    Args:
        request: with the form.

    Raises:
        Problem: 403 if it comes from elsewhere.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = f"{request.url.scheme}://{request.url.netloc}"
    if not (site == "same-origin" if site is not None else origin == own):
        raise Problem(403, ELSEWHERE)


def _ours(here: Service, session: Session, data: FormData) -> bool:
    given = data.get("guard", "")
    return isinstance(given, str) and here.sessions.guards(session, given)
