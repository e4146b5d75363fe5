"""Which case a request is: the same whenever it is asked again, and another for whatever would change its answer."""

from neuralyzer.cases.folder import Folder
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models.trained import TrainedModel
from neuralyzer.workspace import commitments, digests
from neuralyzer.workspace.paths import Workspace


def case_of(place: Workspace, oracle: TrainedModel, request: ErasureRequest, options: CaseOptions) -> str:
    """The name of a case, which no one can make of a subject's name without the workspace's key.

    Args:
        place: where cases are kept; its policy is part of the name.
        oracle: the model, with its rows.
        request: whose rows.
        options: of the case.

    Returns:
        ``case-`` and twelve digits; that of an early workspace where such a case was begun there.
    """
    fields = _fields(place, oracle, request, options)
    own = _name(place, [digests.of_json(fields)])
    if _answered(place, own) not in (NOT_ANSWERED, place.policy.acceptance):
        # A command that could not be run is mended and the case goes on; one that was run is part of the answer.
        own = _name(place, [digests.of_json(fields | {"acceptance": place.policy.acceptance})])
    early = _name(place, _early_fields(oracle, request, options))
    if not (place.cases / own).exists():
        folder = Folder(place.cases / early)
        if (
            folder.has("request")
            and _same(place, folder, request)
            and not (folder.has("result") and folder.read("result")["policy"] != place.policy.to_dict())
        ):
            return early
    return own


NOT_ANSWERED = object()


def _answered(place: Workspace, case: str) -> object:
    """The acceptance command that a finished case was held to."""
    folder = Folder(place.cases / case)
    return folder.read("result")["policy"]["acceptance"] if folder.has("result") else NOT_ANSWERED


def _same(place: Workspace, folder: Folder, request: ErasureRequest) -> bool:
    """Whether a case was begun for a request; one that has closed knows it by its commitment alone."""
    received, asked = folder.read("request"), request.to_dict()
    known = received.get("commitment")
    return bool(received["request"] == asked) or known == commitments.commitment(place, [digests.of_json(asked)])


def _fields(place: Workspace, oracle: TrainedModel, request: ErasureRequest, options: CaseOptions) -> dict[str, object]:
    asked = request.to_dict()
    if options.timed_budget:
        asked.pop("budget")  # another timing is no other request
    return {
        "request": asked,
        "model": oracle.digest,
        "data": oracle.data_digest,
        "policy": {name: value for name, value in place.policy.to_dict().items() if name != "acceptance"},
        "method": options.method,
        "hyperparameters": {name: repr(value) for name, value in (options.hyperparameters or {}).items()},
        "seed": options.seed,
        "exact_references": options.exact_references,
    }


def _early_fields(oracle: TrainedModel, request: ErasureRequest, options: CaseOptions) -> list[str]:
    """What version 0.1 made the name of: a set of texts, so that one case could have two names' wishes."""
    return [
        digests.of_json(request.to_dict()), oracle.digest, str(options.method), repr(options.hyperparameters), str(options.seed),
        *([str(options.exact_references)] if options.exact_references else []),
    ]  # fmt: skip


def _name(place: Workspace, fields: list[str]) -> str:
    return f"case-{commitments.commitment(place, fields).rpartition(':')[2][:12]}"
