"""``forget``: the whole way of a case, from the request to the signed certificate and the report."""

import datetime as dt
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.cases import certificate as certifying
from neuralyzer.cases import outcome
from neuralyzer.cases.attempt import Outcome, Setting, attempt
from neuralyzer.cases.case import Case, succeeded
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.identity import case_of
from neuralyzer.cases.listener import NoListener, Watch
from neuralyzer.cases.options import CaseOptions
from neuralyzer.certificates.certify import certify
from neuralyzer.certificates.statement import ProtocolRecord
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.methods import catalogue
from neuralyzer.models import shard_record, threads, weights
from neuralyzer.models.placement import Placement
from neuralyzer.models.sharded import Sharded
from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.plan import Plan, make_plan
from neuralyzer.planning.track_record import Record
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.pool import References
from neuralyzer.references.training import exact
from neuralyzer.registry.locate import GIVEN, locate
from neuralyzer.registry.location import Base, Location
from neuralyzer.registry.trained_on import base_saw
from neuralyzer.report.page import write_report
from neuralyzer.trace.estimator import nulls_to_keep
from neuralyzer.unlearning.task import Task
from neuralyzer.verification.audit import Audit, audit
from neuralyzer.verification.controls import Controls
from neuralyzer.workspace import commitments, digests, locks
from neuralyzer.workspace.paths import Workspace, as_workspace

EXACT_FOLDER = "exact"
References_ = References | Callable[[], References | None] | None


def forget(
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References_ = None,
    workspace: Workspace | Path | str | None = None,
    *,
    method: str | None = None,
    options: CaseOptions | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    wish: CaseOptions | None = None,
) -> Case:
    """Make a model forget, and prove it.

    Each stage's result is written before the next begins: killed and called again with the same arguments, the case
    goes on from its last finished stage and ends in the same weights. The original is never changed.

    Args:
        oracle: the model.
        request: whose rows, how strongly, by when.
        references: its pool, or a function that gives it; without one only exact options can be judged.
        workspace: where the case is kept, and the policy; a temporary folder by default.
        method: the person's own choice of algorithm, short for ``options``.
        options: of the case.
        progress: shown the work.
        watch: told each stage's result.
        wish: ``options`` by its old name, which goes with the next version.

    Returns:
        The finished case.

    Raises:
        UsageError: if there is no such method, if it cannot be used on this request, or if exact references are asked
            for where there is no pool.
    """
    began = time.perf_counter()
    place = as_workspace(tempfile.mkdtemp(prefix="neuralyzer-") if workspace is None else workspace)
    if wish is not None:
        warnings.warn("forget(wish=) is now forget(options=)", DeprecationWarning, stacklevel=2)
    options = options or wish or CaseOptions()
    options = replace(options, method=method) if method is not None else options
    lineage = place.locks / f"{oracle.lineage[:16]}.lock"
    with (
        locks.held(lineage, "makes this model forget"),
        threads.using(threads.settled(place.threads, oracle.recipe, oracle.data).count),
    ):
        return _forget(oracle, request, references, place, options, watch or NoListener(), progress or Silent(), began)


def _forget(
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References_,
    place: Workspace,
    options: CaseOptions,
    watch: Watch,
    progress: Progress,
    began: float,
) -> Case:
    positions = request.positions(oracle.data)
    case = case_of(place, oracle, request, options)
    folder = Folder(place.cases / case)
    if folder.has("result"):
        return _closed(folder, oracle, positions, references, case, place)
    if options.method is not None:
        # a wrong name is told before an audit is paid for
        catalogue.make(options.method, **(options.hyperparameters or {}))
    pool = references() if callable(references) else references
    if options.exact_references and pool is None:
        raise UsageError(exact.NO_POOL)
    received = folder.stage("request", lambda: _received(request), lambda r: r, lambda r: r)
    if options.timed_budget:
        request = replace(request, budget=received["request"]["budget"])  # as the case began with it
    location = folder.stage(
        "located",
        lambda: _located(request, place, oracle, options).to_dict(),
        lambda found: found,
        lambda found: found,
    )
    watch.stage("located", location)
    audited = folder.stage("audit", lambda: audit(oracle, request, pool, place.policy), Audit.to_dict, Audit.from_dict)
    watch.stage("audit", audited)
    task = Task(oracle, request, pool, place.policy.alpha, options.seed, Placement.of(options.device))
    plan = folder.stage(
        "plan",
        lambda: _planned(task, place, options, audited),
        Plan.to_dict,
        Plan.from_dict,
    )
    watch.stage("plan", plan)
    declared = folder.stage(
        "protocol", lambda: _declared(audited), lambda p: p.model_dump(), lambda p: ProtocolRecord(**p)
    )
    setting = Setting(
        task, pool, audited.protocol, place.policy, plan.members_utility, plan.answerable, options.folder, progress,
        options.exact_references, folder.root / EXACT_FOLDER,
        base_saw((Base(**base) for base in location.get("bases", ())), oracle.recipe.base),
    )  # fmt: skip
    outcomes = _attempts(setting, plan, options, folder, watch)
    done = folder.stage("answered", _now, lambda moment: {"done": moment}, lambda known: str(known["done"]))
    facts = outcome.Facts(
        case, oracle, task, pool, place, plan, audited, outcomes, location, received, options, done, began
    )  # fmt: skip
    _finish(folder, facts, declared)
    return _closed(folder, oracle, positions, pool, case, place)


def _planned(task: Task, place: Workspace, options: CaseOptions, audited: Audit) -> Plan:
    record, limit = Record.shipped().with_cases(place.cases), place.policy.max_utility_loss
    doubt = Controls(audited.self_check, audited.positive_control).reason
    found = make_plan(task, limit, options.method, options.hyperparameters, options.rates, record, doubt)
    return found if options.choose is None else found.chosen_by_person(options.choose(found))


def _located(request: ErasureRequest, workspace: Workspace, oracle: TrainedModel, options: CaseOptions) -> Location:
    own = dict.fromkeys([*weights.identities(oracle.model), oracle.lineage])
    return locate(
        request, workspace, oracle.data, weights=list(own), base=oracle.recipe.bases, also=options.also,
        name=options.named.get("data", GIVEN),
    )  # fmt: skip


def _received(request: ErasureRequest) -> dict[str, Any]:
    opened = _now()
    return {"request": request.to_dict(), "received": request.received or opened, "opened": opened}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _declared(audited: Audit) -> ProtocolRecord:
    own = audited.protocol
    return ProtocolRecord.declare(
        signals=list(own.signals), counting=list(own.counting), alpha=own.alpha, max_trace=own.max_trace,
        references=own.references, declared_at=_now(),
    )  # fmt: skip


def _attempts(setting: Setting, plan: Plan, options: CaseOptions, folder: Folder, watch: Watch) -> list[Outcome]:
    """Try the options in order until one is enough."""
    outcomes: list[Outcome] = []
    for number, option in enumerate(plan.order):
        if any(before.method == option.method and before.weights is None for before in outcomes):
            continue  # what crashed within the budget would crash again
        own = Folder(folder.root / "attempts" / f"{number}-{option.method}")
        hyperparameters = (options.hyperparameters or {}) if option.method == options.method else {}
        outcomes.append(attempt(setting, option, hyperparameters, own))
        watch.stage("attempt", outcomes[-1])
        if not outcomes[-1].failures:
            break
    if all(found.verification is None for found in outcomes):
        raise UsageError(f"no option came to a verdict; the last one: {outcomes[-1].failures[0]}")
    return outcomes


def _finish(folder: Folder, facts: outcome.Facts, declared: ProtocolRecord) -> None:
    """Certify, report, and write the result."""
    final = facts.final
    assert final.weights is not None
    envelope, page = folder.path("certificate.json"), folder.path("report.html")
    if not envelope.exists():
        certify(certifying.predicate(facts, declared, envelope), final.weights, facts.workspace, envelope)
    result = outcome.result(facts, envelope, page)
    if not page.exists():
        write_report(result, outcome.margins(facts), page)
    result["unlearning"]["speed"] = facts.speed.to_dict()  # the report has taken its time too
    folder.write("result", result)


def _unname(folder: Folder, place: Workspace) -> None:
    """Remove names from the files of a closed case; the commitment lets whoever has the workspace's key match them."""
    received = folder.read("request")
    if place.policy.name_subject or "commitment" in received:
        return
    asked = received["request"]
    nameless = {
        "request": asked | dict.fromkeys(("subjects", "rows", "where")),
        "commitment": commitments.commitment(place, [digests.of_json(asked)]),
    }
    folder.write("located", outcome.discreet(folder.read("located"), named=False))
    folder.write("request", received | nameless)


def _closed(
    folder: Folder, oracle: TrainedModel, positions: np.ndarray, references: References_, case: str, place: Workspace
) -> Case:
    """Erase what was measured on the rows where the case succeeded, and hand over the unlearned model."""
    # Exact references go whatever the verdict was: it is written down.
    exact.destroy(folder.root / EXACT_FOLDER)
    result, factors = folder.read("result"), None
    if succeeded(result) and not folder.has("closed"):
        path = result["references"]["folder"]
        if path is not None and not References.closed(path, case):
            pool = references() if callable(references) else references
            if pool is not None:
                factors = pool.store.curvature if pool.store.curvature.exists() else None
                pool.erase(positions, case, nulls_to_keep(pool, positions, result["policy"]["alpha"]))
        if isinstance(oracle.recipe.train, Sharded):
            shard_record.erase(oracle.recipe.train.folder, oracle.data.ids[positions].tolist())
        _unname(folder, place)
        folder.write("closed", {"case": case})
    module = weights.load_into(weights.clone(oracle.model), Path(result["weights_file"])).eval()
    retained = oracle.data.select(np.setdiff1d(np.arange(len(oracle.data)), positions))
    after = TrainedModel(module, oracle.recipe, retained, oracle.holdout, parent=oracle.lineage)
    if factors is not None:
        kept.factors(after, factors)  # of the rows that are left, so that the next request pays a solve only
    return Case(case, folder.root, after, result, Path(result["certificate"]), Path(result["report"]))
