"""``neuralyzer release``: approves that a request's new weights come into use."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer release req-0123456789abcdef"

Request = Annotated[str | None, typer.Argument(metavar="REQUEST", help="Its id; without it all that wait are shown.")]


def run(request: Request = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Approve the release of a request that was judged; without an id show those that wait for it.

    Where policy.approve is not 'before-release' a worker releases them without approval.
    """
    from neuralyzer.cli.extras import require
    from neuralyzer.errors import UsageError

    require("service", "fastapi")
    from neuralyzer.cli.request import who
    from neuralyzer.service import decisions
    from neuralyzer.service.opening import requests_of
    from neuralyzer.service.states import State

    _, requests = requests_of(project)
    if request is None:
        waiting = [one.id for one in requests.find([State.JUDGED]) if one.approved != "release"]
        answer({"waiting": waiting}, "\n".join(waiting) or "no request waits for its release", json)
        return
    state = requests.get(request).state
    if state is not State.JUDGED:
        raise UsageError(f"{request} is {state}; only a request that was judged can be released")
    decisions.approve(requests, request, who())
    answer({"request": request, "approved": "release"}, f"{request} is released by the next worker that is free", json)
