"""Errors as problem details (RFC 9457). None says what a client wrote, and a fault says nothing of what is within."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.responses import Response

from neuralyzer.errors import LedgerError, NeuralyzerError, StorageError, UnreadableError

MEDIA = "application/problem+json"
OPENDSR = "/opendsr/"  # its errors have the form of its specification, section 7.6
log = logging.getLogger("neuralyzer.service")

ANSWERS: dict[int | str, dict[str, Any]] = {
    code: {"description": HTTPStatus(code).phrase, "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for code in (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503)
}  # fmt: skip
SCHEMA = {
    "type": "object",
    "description": "Problem details, RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object", "properties": {
            "pointer": {"type": "string"}, "detail": {"type": "string"}}}},
    },
}  # fmt: skip


class Problem(Exception):
    """An error that is answered.

    Args:
        status: of HTTP.
        detail: what was wrong and what to do; never what the client wrote.
        headers: of the answer.
        errors: which parts of the body are wrong.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.errors = status, detail, dict(headers or {}), errors

    def response(self, path: str) -> Response:
        """Return the answer for a request to ``path``."""
        if path.startswith(OPENDSR):
            return self._opendsr()
        content: dict[str, Any] = {
            "type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail,
        }  # fmt: skip
        if self.errors:
            content["errors"] = list(self.errors)
        return JSONResponse(content, self.status, self.headers, MEDIA)

    def _opendsr(self) -> Response:
        status = 400 if self.status in (409, 422) else self.status
        reasons = [error["detail"] for error in self.errors] or [self.detail]
        errors = [{"domain": "Validation", "reason": "IllegalArgument", "message": reason} for reason in reasons]
        content = {"error": {"code": status, "message": self.detail, "errors": errors}}
        return JSONResponse(content, status, self.headers)


def of(error: Exception) -> Problem:
    """Return the problem that an error is answered with; a fault is logged without its text, which may name people."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        errors = [{"pointer": _pointer(one["loc"]), "detail": str(one["msg"])} for one in error.errors()]
        return Problem(422, "the request does not have the form that the API describes", errors=errors)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _words(error.status_code), error.headers)
    if isinstance(error, StorageError | NoConnection):
        log.error("storage fails at %s", place(error))
        return Problem(503, "the service's storage does not answer; try again", {"Retry-After": "10"})
    if isinstance(error, NeuralyzerError) and not isinstance(error, UnreadableError | LedgerError):
        return Problem(409, str(error))  # it has the form, but conflicts with what is here
    return fault(error)


def fault(error: Exception) -> Problem:
    """Return the problem that an error of the service's own is answered with; the log says where it arose."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    log.error("%s at %s", type(error).__name__, place(error))
    return Problem(500, "the service failed; its log says where")


def place(error: BaseException) -> str:
    """Return where an error arose: files and lines of the last calls, without any value."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames)) or "nowhere"


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        return of(error).response(request.url.path)

    for kind in (Problem, RequestValidationError, HTTPException, NeuralyzerError):
        app.add_exception_handler(kind, answer)


def _pointer(where: Sequence[Any]) -> str:
    """Return where in the request something is wrong; a name that the client chose is not repeated."""
    return "/".join(str(part) for part in where[:2]) + ("" if len(where) < 3 else "/...")


def _words(status: int) -> str:
    known = {
        400: "the request cannot be read",
        404: "there is nothing here",
        405: "this method cannot be used here",
    }
    return known.get(status, HTTPStatus(status).phrase.lower())
