"""The id of a case: equal for equal requests, and different wherever anything differs that could change the result."""

from neuralyzer.cases.folder import Folder
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models.trained import TrainedModel
from neuralyzer.workspace import commitments, digests
from neuralyzer.workspace.paths import Workspace


def case_of(
    place: Workspace, oracle: TrainedModel, request: ErasureRequest, options: CaseOptions, given: str | None = None
) -> str:
    """Return the id of a case; it cannot be computed from a subject's name without the workspace's key.

    Args:
        place: the workspace; its policy is part of the id.
        oracle: the model, with its rows.
        request: of the case.
        options: of the case.
        given: digest of weights that are judged in place of unlearning; None where the case unlearns itself.

    Returns:
        ``case-`` and twelve digits; the id by version 0.1 if the case was begun by that.
    """
    fields = _fields(place, oracle, request, options) | ({} if given is None else {"given": given})
    current = _name(place, [digests.of_json(fields)])
    if _acceptance_of(place, current) not in (NOT_FINISHED, place.policy.acceptance):
        # A command that could not be run may be corrected, and the case resumes; one that was run is part of the
        # result.
        current = _name(place, [digests.of_json(fields | {"acceptance": place.policy.acceptance})])
    early = _name(place, _early_fields(oracle, request, options))
    if not (place.cases / current).exists():
        folder = Folder(place.cases / early)
        if (
            folder.has("request")
            and _same(place, folder, request)
            and not (folder.has("result") and folder.read("result")["policy"] != place.policy.to_dict())
        ):
            return early
    return current


NOT_FINISHED = object()  # in place of a command, since None means that there is no command


def _acceptance_of(place: Workspace, case: str) -> object:
    """Return the acceptance command of a finished case; ``NOT_FINISHED`` where the case is not finished."""
    folder = Folder(place.cases / case)
    return folder.read("result")["policy"]["acceptance"] if folder.has("result") else NOT_FINISHED


def _same(place: Workspace, folder: Folder, request: ErasureRequest) -> bool:
    """Return whether a case was begun for a request; a closed case keeps only the request's commitment."""
    received, values = folder.read("request"), request.to_dict()
    commitment = received.get("commitment")
    return bool(received["request"] == values) or commitment == commitments.commitment(place, [digests.of_json(values)])


def _fields(place: Workspace, oracle: TrainedModel, request: ErasureRequest, options: CaseOptions) -> dict[str, object]:
    values = request.to_dict()
    if options.timed_budget:
        values.pop("budget")  # another timing does not make another request
    return {
        "request": values,
        "model": oracle.digest,
        "data": oracle.data_digest,
        "policy": {name: value for name, value in place.policy.to_dict().items() if name != "acceptance"},
        "method": options.method,
        "hyperparameters": {name: repr(value) for name, value in (options.hyperparameters or {}).items()},
        "seed": options.seed,
        "exact_references": options.exact_references,
    }


def _early_fields(oracle: TrainedModel, request: ErasureRequest, options: CaseOptions) -> list[str]:
    """Return the texts from which version 0.1 made an id; they did not cover all options."""
    return [
        digests.of_json(request.to_dict()), oracle.digest, str(options.method), repr(options.hyperparameters), str(options.seed),
        *([str(options.exact_references)] if options.exact_references else []),
    ]  # fmt: skip


def _name(place: Workspace, fields: list[str]) -> str:
    return f"case-{commitments.commitment(place, fields).rpartition(':')[2][:12]}"
