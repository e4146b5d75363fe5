"""A person: what holds their rows, and what was asked for them. And the audit of a claim by upload."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from neuralyzer.errors import NeuralyzerError, StorageError
from neuralyzer.project.project import Project
from neuralyzer.project.project_data import READERS
from neuralyzer.service.api import problems, subjects
from neuralyzer.service.api.forms import RequestView, Search
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.context import Here, Service
from neuralyzer.service.pages import jobs, shell, way
from neuralyzer.service.pages.fields import LARGEST_UPLOAD, Form
from neuralyzer.service.states import CLOSED, State

routes = APIRouter(route_class=shell.PageRoute, include_in_schema=False)
CHUNK = 1 << 20  # bytes


@routes.get("/subject")
def ask(here: Here, visitor: shell.Requesting) -> Response:
    """Ask for a name."""
    return shell.show(here, "subject", visitor, at="subject", name="", found=None)


@routes.post("/subject")
async def search(here: Here, visitor: shell.Requesting, form: Form) -> Response:
    """Show what holds a person; the name came in the form, and stands in no address."""
    try:
        name = Search(subject=form.text("subject")).subject
    except ValidationError:
        raise Problem(422, "give a name, in one line") from None
    try:
        told = await to_thread.run_sync(_all_about, here, visitor, name, limiter=here.searches)
    except StorageError:
        raise
    except NeuralyzerError as error:  # of the project's files, of which a page says nothing
        raise problems.fault(error) from None
    return shell.show(here, "subject", visitor, at="subject", name=name, **told)


@routes.get("/claim")
def claim(request: Request, here: Here, visitor: shell.Requesting) -> Response:
    """Show the form of a claim, and the last one's result to who brought it."""
    last = jobs.of(request, "claim").last
    own = last if last is not None and last.owner == visitor.token.id else None
    busy = last is not None and last.ended is None
    tones = way.TONES
    return shell.show(
        here, "claim", visitor, at="claim", job=own, busy=busy, tones=tones, kinds=sorted(READERS),
        largest=LARGEST_UPLOAD >> 20,
    )  # fmt: skip


@routes.post("/claim")
def audit(request: Request, here: Here, visitor: shell.Requesting, form: Form) -> Response:
    """Begin the audit of a claimant's rows; they lie in a private file until it is done."""
    file = form.file("rows")
    suffix = Path(file.filename or "").suffix.lower()
    if suffix not in READERS:
        raise Problem(415, f"the rows must be a file of one of these kinds: {', '.join(sorted(READERS))}")
    with tempfile.NamedTemporaryFile(prefix="claim-", suffix=suffix, delete=False) as kept:  # for its owner alone
        path = Path(kept.name)
        while part := file.file.read(CHUNK):
            kept.write(part)
    try:
        jobs.of(request, "claim").start(visitor.token.id, _audit(here, path), "audit of a claim")
    except Problem:
        path.unlink()
        raise
    return shell.away("/claim")


def _audit(here: Service, path: Path) -> Callable[[], dict[str, Any]]:
    def audited() -> dict[str, Any]:
        from neuralyzer.verification.claim import audit_rows  # here, since they load what a page does not need
        from neuralyzer.verification.texts_claim import audit_texts, possible

        try:
            opened = Project.read(here.project.path)
            rows, oracle = opened.rows.claimed(path), opened.oracle()
            pool, policy = opened.references(oracle), opened.workspace.policy
            if pool is None and possible(oracle):
                return audit_texts(oracle, rows, opened.rows.whole_holdout, policy).to_dict()
            return audit_rows(oracle, rows, pool, policy).to_dict()
        except NeuralyzerError as error:  # the file has a name of ours, which says nothing to who brought it
            raise type(error)(str(error).replace(str(path), "the file")) from error
        finally:
            path.unlink(missing_ok=True)

    return audited


def _all_about(here: Service, visitor: shell.Visitor, name: str) -> dict[str, Any]:
    asked = [
        request
        for request in here.requests.find(set(State) - set(CLOSED))
        if request.erasure is not None and name in request.erasure.subjects
    ]
    return {
        "found": subjects.found(here.project, name),
        "requests": [(RequestView.of(request, visitor.token), way.tone(request)) for request in asked],
        "entries": list(here.project.ledger.entries_about(name)),
    }
