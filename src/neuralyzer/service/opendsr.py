"""OpenDSR 2.0: what a request of a consent platform is here, and how its state is told.

The specification is at github.com/opengdpr/OpenDSR; section numbers are its own.
"""

import datetime as dt
import json
from typing import Any, Literal

from neuralyzer.service.callbacks import Sent, send
from neuralyzer.service.request import Request
from neuralyzer.service.settings import Settings
from neuralyzer.service.signatures import Signer
from neuralyzer.service.states import State
from neuralyzer.workspace.paths import Workspace

VERSION, KIND = "2.0", "opendsr"
Status = Literal["pending", "in_progress", "completed", "cancelled"]
STATUS: dict[State, Status] = {
    State.RECEIVED: "pending",
    **dict.fromkeys((State.PREPARING, State.PLANNED, State.UNLEARNING, State.JUDGED, State.NEEDS_PERSON), "in_progress"),
    State.DONE: "completed",
    **dict.fromkeys((State.CANCELLED, State.REFUSED), "cancelled"),  # it has no word for a refusal; see told()
}  # fmt: skip


def moment(value: dt.datetime) -> str:
    """Return a moment as RFC 3339 has it."""
    return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expected(request: Request) -> str:
    """Return when a request will be answered at the latest: at the end of its due date."""
    return moment(dt.datetime.combine(request.due, dt.time(23, 59, 59), dt.UTC))


def own(subject_request_id: str) -> str:
    """Return what the platform calls a request, as ``requests.id_of`` takes it."""
    return f"{KIND}:{subject_request_id}"


def told(request: Request, settings: Settings) -> dict[str, Any]:
    """Return the status of a request, section 8.3; the extension has our own word for its state."""
    external = request.external or {}
    return {
        "controller_id": request.client,
        "expected_completion_time": expected(request),
        "subject_request_id": external.get("subject_request_id"),
        "request_status": STATUS[request.state],
        "api_version": VERSION,
        "results_url": None,
        "extensions": {settings.domain: {"state": str(request.state), "id": request.id}},
    }


def notify(request: Request, settings: Settings, workspace: Workspace) -> list[Sent]:
    """Tell the platform that made a request of its present state, section 8.5; for the worker.

    A callback names no person. It may come twice where a worker was stopped between sending and recording it.

    Args:
        request: as it is now; one that no platform made has no callbacks.
        settings: have the hosts to which callbacks may go.
        workspace: has the key that signs them.

    Returns:
        What became of each callback.

    Raises:
        CertificateError: if the signing key cannot be used.
    """
    external = request.external or {}
    urls = external.get("status_callback_urls", ()) if external.get("kind") == KIND else ()
    if not urls:
        return []
    signer = Signer(workspace, settings.domain)
    results = []
    for url in urls:
        body = json.dumps(told(request, settings) | {"status_callback_url": url}).encode()
        results.append(send(url, body, signer.headers(body), settings.callback_hosts))
    return results
