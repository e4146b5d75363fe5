"""``/fides/webhook``: takes in an erasure in the shape that Fides sends to a policy webhook.

Fides (ethyca) posts ``privacy_request_id``, ``privacy_request_status``, ``direction``, ``callback_type``, ``identity``,
``policy_action``, and since version 2.66 ``privacy_request`` and ``timestamp``; it expects ``halt`` and
``derived_identity`` of a two-way webhook. The secret ``authorization`` of its connection is ``Bearer nz_...``.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints

from neuralyzer.data.request import ErasureRequest
from neuralyzer.service.api import problems
from neuralyzer.service.api.forms import Name
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Requester
from neuralyzer.service.context import Here

KIND = "fides"

routes = APIRouter(prefix="/fides", tags=["Fides"], responses=problems.ANSWERS)


class Labelled(BaseModel):
    """An identity of the operator's own, as Fides has it."""

    label: Name | None = None
    value: Name | int


class Webhook(BaseModel):
    """What Fides sends; further fields are passed over."""

    privacy_request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
    direction: Literal["one_way", "two_way"]
    callback_type: Literal["pre", "post"]
    identity: dict[str, Name | Labelled | None] = Field(max_length=100)
    policy_action: Literal["erasure"]
    privacy_request_status: Annotated[str, StringConstraints(max_length=60)] | None = None


class Taken(BaseModel):
    """The answer; ``request`` is ours, and Fides passes it over."""

    halt: bool = False
    derived_identity: dict[str, Any] | None = None
    request: str


@routes.post("/webhook")
def webhook(form: Webhook, here: Here, token: Requester) -> Taken:
    """Take in an erasure; its identities make one request, and sent again it is still one."""
    names = {
        str(value.value if isinstance(value, Labelled) else value)
        for kind, value in form.identity.items()
        if value is not None and kind in here.settings.identities
    }
    if not names:
        raise Problem(409, f"none of the identities is supported here: {', '.join(here.settings.identities)}")
    own = f"{KIND}:{form.privacy_request_id}"
    external = {"kind": KIND, "privacy_request_id": form.privacy_request_id}
    kept, _ = here.requests.create(
        here.settings.model, ErasureRequest(subjects=sorted(names)), token.id, own=own, external=external
    )
    return Taken(request=kept.id)
