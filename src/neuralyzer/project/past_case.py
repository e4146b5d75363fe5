"""What a past case of a project began with, found again: version of the model, rows, request, batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.cases.folder import Folder
from neuralyzer.cases.run_again import PastCase, Recorded, recorded
from neuralyzer.certificates.statement import Predicate
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import DataChangedError, UsageError, WeightsError
from neuralyzer.models.sharded import Sharded
from neuralyzer.models.trained import TrainedModel
from neuralyzer.project.lineage import Version
from neuralyzer.project.project import Project, keyed_rows
from neuralyzer.project.purging import OLD
from neuralyzer.workspace import commitments, digests

UNNAMED: Mapping[str, Any] = {"subjects": [], "rows": [], "where": None}


def find(project: Project, certified: Predicate) -> PastCase:
    """Find what a case began with.

    Args:
        project: of the case.
        certified: content of its certificate.

    Returns:
        The case.

    Raises:
        UsageError: if its folder is gone, or it cannot be told which rows it was about.
        WeightsError: if the weights that it began from are not kept.
        DataChangedError: if its rows are not in the data any more.
    """
    folder = Folder(project.workspace.cases / certified.request.id)
    if not folder.has("result") or not folder.has("located"):
        raise UsageError(f"the folder of {certified.request.id} is gone, so it cannot be run again")
    version = _version(project, certified)
    oracle, gone = _model(project, version, certified)
    if isinstance(oracle.recipe.train, Sharded):
        raise UsageError("a sharded training changes the folder of its own checkpoints, so it is not run again")
    erased = oracle.data.ids[gone].tolist()
    request = _request(project, certified.request.id, oracle, erased)
    result, place = folder.read("result"), folder.read("located")
    shared = _shared(folder, result["unlearning"]["method"])
    if shared is None:
        budget = folder.read("request")["request"]["budget"]
        request = request or _by_rows(erased, certified.request.rows)
        if request is None or len(request.positions(oracle.data)) != certified.request.rows:
            raise DataChangedError(
                f"the case was about {certified.request.rows} rows, and it can no longer be told which of the data they "
                "are: its names were removed when it was closed, and no version of the model has erased them"
            )
        return PastCase(certified, oracle, request, [request], recorded(result, certified, budget), False, place)
    others = [_request(project, case, oracle, erased) for case in _sharing(shared)]
    known = [one for one in others if one is not None]
    united = known if len(known) == len(others) else [ErasureRequest(rows=erased)]
    attempt = _attempt(shared, certified)
    return PastCase(certified, oracle, request, united, [attempt], True, place)


def _version(project: Project, certified: Predicate) -> Version:
    """Return the version whose weights a case began from.

    Raises:
        WeightsError: if they are not kept.
    """
    wanted, versions = {certified.weights.original, certified.weights.original_file}, project.lineage.versions
    for version in versions:
        path = project.weights_of(version)
        if path.is_file() and digests.of_file(path) in wanted:
            return version
    gone = [
        f"those of version {one.number} were destroyed on {one.destroyed[:10]}" for one in versions if one.destroyed
    ]
    why = f" ({'; '.join(gone)})" if gone else ""
    raise WeightsError(
        f"no version of the model has the weights that the case began from, SHA-256 {certified.weights.original[:12]}"
        f"{why}, so it cannot be run again"
    )


def _model(project: Project, version: Version, certified: Predicate) -> tuple[TrainedModel, np.ndarray]:
    """Return the model of a version, and the positions of the rows that its successor has erased.

    Where they were purged, the old data are read as long as they are kept.

    Raises:
        DataChangedError: if no data are there that the model stands on.
    """
    lineage, case = project.lineage, certified.request.id
    following = next((one for one in lineage.versions if case in one.cases.values()), None)
    erased = set() if following is None else set(following.erased) - set(version.erased)
    why = ""
    for one in _with_old_data(project):
        try:
            oracle = one.model_of(version)
        except DataChangedError as error:
            why = why or str(error)
            continue
        gone = np.flatnonzero([digest in erased for digest in keyed_rows(oracle.data)])
        if len(gone) == len(erased):
            return oracle, gone
        why = f"{len(erased) - len(gone)} of the {len(erased)} rows that were erased are not in the data any more"
    raise DataChangedError(f"{why}, so the case cannot be run again")


def _with_old_data(project: Project) -> Iterator[Project]:
    """Yield the project, then with each old file of training rows that a purge has left, the newest first."""
    yield project
    table = project.tables["data"]
    for old in sorted((project.workspace.root / OLD).glob(f"*-{Path(str(table['train'])).name}"), reverse=True):
        yield replace(project, tables=project.tables | {"data": table | {"train": str(old)}})


def _request(project: Project, case: str, oracle: TrainedModel, erased: Sequence[str]) -> ErasureRequest | None:
    """Return the request of a case; None where its names were removed and no guess fits the commitment to them."""
    folder = Folder(project.workspace.cases / case)
    received = folder.read("request")
    values: dict[str, Any] = received["request"]
    if "commitment" not in received:
        return ErasureRequest.from_dict(values)
    subjects = np.unique(oracle.data.subjects).tolist()
    at = np.isin(oracle.data.ids, list(erased))
    guesses = [
        {},
        {"subjects": np.unique(oracle.data.subjects[at]).tolist()},
        {"rows": list(erased)},
        *({"subjects": [name]} for name in subjects),
    ]
    for guess in guesses:
        named = values | UNNAMED | guess
        if commitments.commitment(project.workspace, [digests.of_json(named)]) == received["commitment"]:
            return ErasureRequest.from_dict(named)
    return None


def _by_rows(erased: Sequence[str], count: int) -> ErasureRequest | None:
    """Return a request for the rows that a version erased, if they are as many as the case was about."""
    return ErasureRequest(rows=erased) if len(erased) == count else None


def _shared(folder: Folder, method: str) -> Folder | None:
    """Return the folder of the unlearning that a case shared with others; None where it unlearned by itself."""
    own = Folder(folder.root / "attempts" / f"0-{method}")
    record = own.read("unlearned") if own.has("unlearned") else None
    for path in sorted(folder.root.parent.glob("*/given.json")):
        other = Folder(path.parent)
        if other.root != folder.root and other.read("given")["record"] == record:
            return other
    return None


def _sharing(shared: Folder) -> list[str]:
    """Return the cases that share an unlearning."""
    given = shared.read("given")
    of_cases = [path.parents[2] for path in shared.root.parent.glob(f"*/attempts/0-{given['method']}/unlearned.json")]
    return sorted(
        case.name
        for case in of_cases
        if case != shared.root
        and Folder(case / "attempts" / f"0-{given['method']}").read("unlearned") == given["record"]
    )


def _attempt(shared: Folder, certified: Predicate) -> Recorded:
    """Return the attempt of a shared unlearning."""
    given, budget = shared.read("given"), shared.read("request")["request"]["budget"]
    limit = budget if Path(given["weights"]).parent.name.startswith("0-") else None  # it binds the first choice only
    late = limit is not None and given["record"]["seconds"] >= limit
    return Recorded(0, given["method"], certified.method.hyperparameters, limit is not None, late)
