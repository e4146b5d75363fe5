"""``/opendsr``: OpenDSR 2.0 for consent platforms, with its own field names. It answers as the specification says."""

import base64
import datetime as dt
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.service import callbacks, decisions, opendsr
from neuralyzer.service.api import problems
from neuralyzer.service.api.forms import Name
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Reader, Requester
from neuralyzer.service.context import Here, Service
from neuralyzer.service.request import Request as Kept
from neuralyzer.service.requests import id_of
from neuralyzer.service.signatures import Signer
from neuralyzer.service.states import State

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
ERROR = {
    "type": "object", "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["code"], "properties": {
        "code": {"type": "integer"}, "message": {"type": "string"}, "errors": {"type": "array"}}}},
}  # fmt: skip
ANSWERS: dict[int | str, dict[str, Any]] = {
    code: {"description": answer["description"], "content": {"application/json": {"schema": ERROR}}}
    for code, answer in problems.ANSWERS.items()
}

routes = APIRouter(prefix="/opendsr", tags=["OpenDSR 2.0"], responses=ANSWERS)
Id = Annotated[str, InPath(pattern=UUID)]


class Identity(BaseModel):
    """Section 5.3."""

    identity_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,60}$")]
    identity_value: Name
    identity_format: Literal["raw"]


class DataSubjectRequest(BaseModel):
    """Section 7.1; extensions of other processors are passed over."""

    regulation: Literal["gdpr", "ccpa"] = "gdpr"
    subject_request_id: Annotated[str, StringConstraints(pattern=UUID)]
    subject_request_type: Literal["erasure"]
    submitted_time: AwareDatetime
    subject_identities: list[Identity] = Field(min_length=1, max_length=100)
    api_version: Annotated[str, StringConstraints(pattern=r"^2(\.\d{1,3}){0,2}$")] | None = None
    status_callback_urls: list[Annotated[str, StringConstraints(max_length=callbacks.LONGEST)]] = Field(
        [], max_length=10
    )
    extensions: dict[str, Any] | None = None


@routes.get("/discovery")
def discovery(here: Here, request: Request) -> Response:
    """Say what is supported, section 6; the certificate is on the same host."""
    identities = [{"identity_type": one, "identity_format": "raw"} for one in here.settings.identities]
    content = {
        "api_version": opendsr.VERSION,
        "supported_identities": identities,
        "supported_subject_request_types": ["erasure"],
        "processor_certificate": f"https://{here.settings.domain}/opendsr/certificate.pem",
    }
    return _signed(here, content)


@routes.get("/certificate.pem", response_class=Response, responses={200: {"content": {"application/x-pem-file": {}}}})
def certificate(here: Here) -> Response:
    """Give the certificate by which signatures are checked."""
    return Response(_signer(here).certificate, media_type="application/x-pem-file")


@routes.post("/requests", status_code=201)
async def create(form: DataSubjectRequest, request: Request, here: Here, token: Requester) -> Response:
    """Take in an erasure, section 7; its identities make one request. Sent twice it is still one."""
    body = await request.body()
    return await run_in_threadpool(_create, here, form, token.id, body)


@routes.get("/requests/{id}")
def status(id: Id, here: Here, token: Reader) -> Response:
    """Tell how far a request is, section 8."""
    return _signed(here, opendsr.told(_kept(here, id), here.settings))


@routes.delete("/requests/{id}", status_code=202)
def cancel(id: Id, here: Here, token: Requester) -> Response:
    """Cancel a request that is still pending, section 9."""
    kept = _kept(here, id)
    if kept.state is not State.RECEIVED:
        raise Problem(400, f"the request is {opendsr.STATUS[kept.state]}; only a pending one can be cancelled")
    try:
        decisions.cancel(here.requests, kept.id, token.id, "cancelled by the controller")
    except UsageError:  # a worker was faster
        raise Problem(400, "the request is no longer pending") from None
    content = {
        "controller_id": kept.client, "subject_request_id": id, "api_version": opendsr.VERSION,
        "received_time": opendsr.moment(dt.datetime.now(dt.UTC)),
    }  # fmt: skip
    return _signed(here, content, 202)


def _create(here: Service, form: DataSubjectRequest, client: str, body: bytes) -> Response:
    names = [one.identity_value for one in form.subject_identities if one.identity_type in here.settings.identities]
    if not names:
        raise Problem(400, f"none of the identities is supported here: {', '.join(here.settings.identities)}")
    for url in form.status_callback_urls:
        callbacks.require(url, here.settings.callback_hosts)
    external = {
        "kind": opendsr.KIND, "subject_request_id": form.subject_request_id, "regulation": form.regulation,
        "submitted_time": opendsr.moment(form.submitted_time), "status_callback_urls": form.status_callback_urls,
    }  # fmt: skip
    own = opendsr.own(form.subject_request_id)
    kept, _ = here.requests.create(
        here.settings.model, ErasureRequest(subjects=sorted(set(names))), client, own=own, external=external
    )
    content = {
        "controller_id": client, "expected_completion_time": opendsr.expected(kept),
        "received_time": opendsr.moment(kept.received), "encoded_request": base64.b64encode(body).decode(),
        "subject_request_id": form.subject_request_id, "api_version": opendsr.VERSION,
    }  # fmt: skip
    return _signed(here, content, 201)


def _kept(here: Service, id: str) -> Kept:
    try:
        return here.requests.get(id_of(opendsr.own(id)))
    except UsageError:
        raise Problem(404, "there is no such request") from None


def _signer(here: Service) -> Signer:
    return Signer(here.project.workspace, here.settings.domain)


def _signed(here: Service, content: dict[str, Any], status: int = 200) -> Response:
    body = json.dumps(content).encode()
    return Response(body, status, _signer(here).headers(body), "application/json")
