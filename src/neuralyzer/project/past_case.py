"""What a past case of a project began with, found again: version of the model, rows, request, batch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.cases.folder import Folder
from neuralyzer.cases.run_again import PastCase, Recorded, recorded
from neuralyzer.certificates.statement import Predicate
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import DataChangedError, ReferencesError, UsageError, WeightsError
from neuralyzer.models.sharded import Sharded
from neuralyzer.models.trained import TrainedModel
from neuralyzer.project.lineage import Version
from neuralyzer.project.project import Project
from neuralyzer.project.project_data import keyed_rows
from neuralyzer.project.purging import OLD
from neuralyzer.registry.history import History
from neuralyzer.workspace import atomic, commitments, digests

UNNAMED: dict[str, Any] = {"subjects": [], "rows": [], "where": None}


def find(project: Project, certified: Predicate) -> PastCase:
    """Find what a case began with.

    Args:
        project: of the case.
        certified: content of its certificate.

    Returns:
        The case.

    Raises:
        UsageError: if its folder is gone, or the recipe or the request has changed.
        WeightsError: if the weights that it began from are not kept.
        DataChangedError: if its rows are not in the data any more, cannot be told from others, or the holdout has changed.
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
    _require_same(project, certified, result, oracle)
    if request is not None:
        _require_certified(project, certified, request)
    shared = _shared(folder, result["unlearning"]["method"])
    if shared is None:
        request = request or _by_rows(oracle, gone, certified.request.rows)
        attempts = recorded(result, certified, folder.read("request")["request"]["budget"])
        return PastCase(certified, oracle, request, [request], attempts, False, place)
    others = [_request(project, case, oracle, erased) for case in _sharing(shared)]
    known = [one for one in others if one is not None]
    if len(known) < len(others):
        rows = np.unique(np.concatenate([gone, *(one.positions(oracle.data) for one in known)]))
        known = [_by_rows(oracle, rows, shared.read("located")["rows"])]
    return PastCase(certified, oracle, request, known, [_attempt(shared, certified)], True, place)


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
    case = certified.request.id
    following = next((one for one in project.lineage.versions if case in one.cases.values()), None)
    erased = set() if following is None else set(following.erased) - set(version.erased)
    for one in _with_old_data(project):
        with suppress(DataChangedError):
            oracle = one.model_of(version)
            gone = np.flatnonzero([digest in erased for digest in keyed_rows(oracle.data)])
            if len(gone) == len(erased):
                return oracle, gone
    raise DataChangedError(
        f"neither {project.tables['data']['train']} nor an old file of it that a purge has left holds the rows that the "
        "case began with, so it cannot be run again"
    )


def _require_same(project: Project, certified: Predicate, result: Mapping[str, Any], oracle: TrainedModel) -> None:
    """Refuse a recipe or a holdout that is not the certified one.

    An older certificate has none; then they are those of the case's references, or of the recorded training.

    Raises:
        UsageError: if the recipe has changed.
        DataChangedError: if the holdout has.
    """
    pool = project.workspace.references / Path(str(result["references"]["folder"])).name / "pool.json"
    known = atomic.read_json(pool) if pool.is_file() else {}
    history = None if oracle.run is None else History.read(oracle.run)
    if certified.training is not None:
        known = {"recipe": certified.training.recipe, "holdout": certified.training.holdout}
    recipe = known.get("recipe") or (None if history is None else history.recipe)
    if recipe is not None and not oracle.recipe.known_as(recipe):
        raise UsageError(
            f"the recipe has changed since (digest {oracle.recipe.digest[:12]}, then {recipe[:12]}), so the case cannot be "
            "run again"
        )
    if known and (None if oracle.holdout is None else oracle.holdout.digest) != known["holdout"]:
        raise DataChangedError("the holdout has changed since, so the case cannot be run again")


def _with_old_data(project: Project) -> Iterator[Project]:
    """Yield the project, then with each old file of training rows that a purge has left, the newest first."""
    yield project
    table = project.tables["data"]
    for old in sorted((project.workspace.root / OLD).glob(f"*-{Path(str(table['train'])).name}"), reverse=True):
        yield replace(project, tables=project.tables | {"data": table | {"train": str(old)}})


def models_between(project: Project, first: str, last: TrainedModel) -> list[TrainedModel]:
    """Return the models of a lineage from one to another, each with its own rows.

    Args:
        project: of the lineage.
        first: digest of the rows of the first one.
        last: the last one; all have its weights, which nothing that is done with references depends on.

    Returns:
        The models, in order.

    Raises:
        ReferencesError: if the rows of the first one are not kept.
    """
    erased = sorted({version.erased for version in project.lineage.versions}, key=len)
    for one in _with_old_data(project):
        keyed = np.array(keyed_rows(one.data))
        rows = {gone: one.data.select(np.flatnonzero(~np.isin(keyed, list(gone)))) for gone in erased}
        ends = [gone for gone in erased if rows[gone].digest == last.data.digest]
        found = [rows[gone] for gone in erased if ends and set(gone) <= set(ends[0])]
        starts = [at for at, data in enumerate(found) if data.digest == first]
        if starts:
            return [replace(last, data=data) for data in found[starts[0] : -1]] + [last]
    raise ReferencesError("the rows on which the references were made are not kept, so they cannot be made again")


def _request(project: Project, case: str, oracle: TrainedModel, erased: Sequence[str]) -> ErasureRequest | None:
    """Return the request of a case; None where its names were removed and no guess fits the commitment to them."""
    folder = Folder(project.workspace.cases / case)
    received = folder.read("request")
    values: dict[str, Any] = received["request"]
    if "commitment" not in received:
        return ErasureRequest.from_dict(values)
    if not (project.workspace.keys / commitments.SUBJECTS).exists():
        return None  # the key was erased, and with it all names
    at = np.isin(oracle.data.ids, list(erased))
    guesses: list[dict[str, Any]] = [
        {},
        {"subjects": np.unique(oracle.data.subjects[at]).tolist()},
        {"rows": list(erased)},
        *({"subjects": [name]} for name in np.unique(oracle.data.subjects).tolist()),
    ]
    for guess in guesses:
        named = values | UNNAMED | guess
        if commitments.commitment(project.workspace, [digests.of_json(named)]) == received["commitment"]:
            return ErasureRequest.from_dict(named)
    return None


def _by_rows(oracle: TrainedModel, positions: np.ndarray, count: int) -> ErasureRequest:
    """Return a request for rows, if they are as many as they should be.

    Raises:
        DataChangedError: if they are not.
    """
    if len(positions) != count:
        raise DataChangedError(
            f"it was about {count} rows, and it can no longer be told which of the data they are: names were removed when "
            "the case was closed, and no version of the model has erased these rows; so it cannot be run again"
        )
    return ErasureRequest(rows=oracle.data.ids[positions].tolist())


def _require_certified(project: Project, certified: Predicate, request: ErasureRequest) -> None:
    """Refuse a request that is not the one in the certificate.

    Raises:
        UsageError: if its names do not give the commitment that was certified.
    """
    if not (project.workspace.keys / commitments.SUBJECTS).exists():
        return
    if commitments.commitment(project.workspace, request.names) != certified.request.commitment:
        raise UsageError("the request in the case's folder is not the one certified, so the case cannot be run again")


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
