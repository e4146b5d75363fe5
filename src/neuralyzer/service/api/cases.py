"""``/v1/cases/{id}``: one request, its events, decisions about it, and the documents of its case."""

import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from neuralyzer.cases.folder import Folder
from neuralyzer.errors import UsageError
from neuralyzer.service import decisions
from neuralyzer.service.api import problems
from neuralyzer.service.api.forms import ID, Approval, Reason, RequestView
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Approver, Reader, Requester
from neuralyzer.service.context import Here, Service
from neuralyzer.service.request import Request
from neuralyzer.service.tokens import Scope

routes = APIRouter(prefix="/v1/cases/{id}", tags=["cases"], responses=problems.ANSWERS)
Id = Annotated[str, InPath(pattern=ID)]
CASE = re.compile(r"case-[0-9a-f]{12}", re.ASCII)
SHOWN = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"


@routes.get("")
def show(id: Id, here: Here, token: Reader) -> RequestView:
    """Show a request."""
    return RequestView.of(known(here, id), token)


@routes.post("/approve")
def approve(id: Id, form: Approval, here: Here, token: Approver) -> RequestView:
    """Approve what comes next: unlearning where a plan waits, the release where a verdict waits."""
    request = known(here, id)
    if form.method is not None:
        plan = _folder(here, request, "plan").read("plan")
        if all(option["method"] != form.method for option in plan["options"]):
            raise Problem(409, "the plan has no such option; /plan lists them")
    return RequestView.of(decisions.approve(here.requests, request.id, token.id, form.method), token)


@routes.post("/cancel")
def cancel(id: Id, form: Reason, here: Here, token: Requester) -> RequestView:
    """Cancel a request; one that a worker has is cancelled when the present stage is done."""
    return RequestView.of(decisions.cancel(here.requests, known(here, id).id, token.id, form.reason), token)


@routes.post("/extend")
def extend(id: Id, form: Reason, here: Here, token: Approver) -> RequestView:
    """Extend the due date by two months, Art. 12(3) GDPR."""
    return RequestView.of(decisions.extend(here.requests, known(here, id).id, token.id, form.reason), token)


@routes.post("/refuse")
def refuse(id: Id, form: Reason, here: Here, token: Approver) -> RequestView:
    """Refuse a request, Art. 12(5) and 17(3) GDPR."""
    return RequestView.of(decisions.refuse(here.requests, known(here, id).id, token.id, form.reason), token)


@routes.post("/again")
def again(id: Id, here: Here, token: Approver) -> RequestView:
    """Take up a request again that waits for a person."""
    return RequestView.of(decisions.again(here.requests, known(here, id).id, token.id), token)


@routes.get("/plan")
def plan(id: Id, here: Here, token: Reader) -> dict[str, Any]:
    """Show the options of the plan, and which one is chosen."""
    content: dict[str, Any] = _folder(here, known(here, id), "plan").read("plan")
    return content


@routes.get("/report", response_class=FileResponse)
def report(id: Id, here: Here, token: Requester) -> FileResponse:
    """Give the report (HTML); it is for those who answer the person, so it needs the scope request."""
    path = _file(here, known(here, id), "report.html")
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": SHOWN})


@routes.get("/certificate", response_class=FileResponse)
def certificate(id: Id, here: Here, token: Reader) -> FileResponse:
    """Give the signed certificate; where the policy names the subject in it, that needs the scope request."""
    request = known(here, id)
    path = _file(here, request, "certificate.json")
    named = _folder(here, request, "result").read("result")["policy"].get("name_subject")
    if named and not token.allows(Scope.REQUEST):
        raise Problem(403, "this certificate names its subject; the token lacks the scope request")
    return FileResponse(path, media_type="application/json", filename=f"{request.case}.json")


def known(here: Service, id: str) -> Request:
    """Return a request.

    Args:
        here: the service.
        id: of the request.

    Returns:
        The request.

    Raises:
        Problem: 404 if there is none of that id.
    """
    try:
        return here.requests.get(id)
    except UsageError:
        raise Problem(404, "there is no such request") from None


def folder_of(here: Service, request: Request, stage: str) -> Folder | None:
    """Return the folder of a request's own case; None where the stage is not finished in it."""
    if request.case is None or not CASE.fullmatch(request.case):
        return None
    folder = Folder(here.settings.workspace / "cases" / request.case)
    return folder if folder.has(stage) else None


def _folder(here: Service, request: Request, stage: str) -> Folder:
    folder = folder_of(here, request, stage)
    if folder is None:
        raise Problem(404, f"there is no {stage} yet")
    return folder


def _file(here: Service, request: Request, name: str) -> Path:
    path = _folder(here, request, "result").path(name)
    if not path.is_file():
        raise Problem(404, f"there is no {Path(name).stem} yet")
    return path
