"""``POST /v1/subjects/search``: where a person's rows are. The name comes in the body, never in a URL."""

from typing import Any

from anyio import to_thread
from fastapi import APIRouter

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import NeuralyzerError, StorageError, UnknownSubjectError
from neuralyzer.models.weights import identities
from neuralyzer.project.project import Project
from neuralyzer.registry import manifests
from neuralyzer.registry.locate import locate
from neuralyzer.service.api import problems
from neuralyzer.service.api.forms import Search
from neuralyzer.service.api.security import Requester
from neuralyzer.service.context import Here

routes = APIRouter(prefix="/v1/subjects", tags=["subjects"], responses=problems.ANSWERS)


@routes.post("/search")
async def search(form: Search, here: Here, token: Requester) -> dict[str, Any]:
    """Find a person's rows in every data set, run, checkpoint and model; ``found`` says whether there are any."""
    try:
        return await to_thread.run_sync(found, here.project, form.subject, limiter=here.searches)
    except StorageError:
        raise
    except NeuralyzerError as error:  # of the project's files, of which a client should learn nothing
        raise problems.fault(error) from None


def found(project: Project, subject: str) -> dict[str, Any]:
    """Look a subject up in the manifests; only where none is registered are the rows themselves read.

    Args:
        project: read anew, since its files may have changed.
        subject: name, as it is written in the data.

    Returns:
        Whether there are any rows, and where, as ``neuralyzer locate --json`` has it.
    """
    request = ErasureRequest(subjects=[subject])
    opened = Project.read(project.path)
    weights = identities(opened.weights) if opened.weights.exists() else ()
    data = None if manifests.datasets(opened.workspace) else opened.data
    erasure = opened.rows.known_by(request)
    try:
        place = locate(
            erasure, opened.workspace, data, weights=weights, base=opened.recipe.bases, also=opened.rows.searched,
            name=opened.named["data"],
        )  # fmt: skip
    except UnknownSubjectError:  # its text would name others whose names are similar
        return {"found": False, "rows": 0}
    content = place.to_dict()
    for run in content["runs"]:
        run.pop("path")  # of this machine
    return {"found": True} | content
