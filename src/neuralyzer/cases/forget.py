"""``forget``: a whole case, from the request to the signed certificate and the report."""

import datetime as dt
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from neuralyzer.cases import answers, outcome
from neuralyzer.cases import certificate as certifying
from neuralyzer.cases.attempt import Outcome, Setting, attempt
from neuralyzer.cases.case import Case, succeeded
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.identity import case_of
from neuralyzer.cases.listener import CaseListener
from neuralyzer.cases.options import CaseOptions
from neuralyzer.certificates.certify import certify
from neuralyzer.certificates.statement import ProtocolRecord
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.methods import catalogue
from neuralyzer.models import shard_record, threads, weights
from neuralyzer.models.kinds.answers import Answering
from neuralyzer.models.kinds.kind import InFolder
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
    watch: CaseListener | None = None,
    wish: CaseOptions | None = None,
) -> Case:
    """Make a model forget, and prove it.

    Each stage's result is written before the next begins. If the case is killed and called again with the same
    arguments, it resumes after its last finished stage and ends in the same weights. The original is never changed.

    Args:
        oracle: the model.
        request: names the rows, the guarantee and the due date.
        references: the model's pool, or a function that returns it; without one only exact options get a verdict.
        workspace: has the policy and keeps the case; a temporary folder by default.
        method: name of the algorithm, short for ``options``.
        options: of the case.
        progress: shows the work.
        watch: receives each stage's result.
        wish: ``options`` by its old name, which is removed with the next version.

    Returns:
        The finished case.

    Raises:
        UsageError: if there is no such method, if it cannot be used on this request, or if exact references are asked
            for without a pool.
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
        return _forget(oracle, request, references, place, options, watch or Silent(), progress or Silent(), began)


def _forget(
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References_,
    place: Workspace,
    options: CaseOptions,
    watch: CaseListener,
    progress: Progress,
    began: float,
) -> Case:
    positions = request.positions(oracle.data)
    case = case_of(place, oracle, request, options)
    folder = Folder(place.cases / case)
    if folder.has("result"):
        return _closed(folder, oracle, positions, references, case, place)
    if options.method is not None:
        # A wrong name or hyperparameter is refused before the audit, which takes time.
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
        lambda values: values,
        lambda values: values,
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
    _finish(folder, facts, declared, watch)
    return _closed(folder, oracle, positions, pool, case, place)


def _planned(task: Task, place: Workspace, options: CaseOptions, audited: Audit) -> Plan:
    record, limit = Record.shipped().with_cases(place.cases), place.policy.max_utility_loss
    doubt = Controls(audited.self_check, audited.positive_control).reason
    plan = make_plan(task, limit, options.method, options.hyperparameters, options.rates, record, doubt)
    return plan if options.choose is None else plan.chosen_by_person(options.choose(plan))


def _located(request: ErasureRequest, workspace: Workspace, oracle: TrainedModel, options: CaseOptions) -> Location:
    identities = dict.fromkeys([*weights.identities(oracle.model), oracle.lineage])
    return locate(
        request, workspace, oracle.data, weights=list(identities), base=oracle.recipe.bases, also=options.also,
        name=options.named.get("data", GIVEN),
    )  # fmt: skip


def _received(request: ErasureRequest) -> dict[str, Any]:
    opened = _now()
    return {"request": request.to_dict(), "received": request.received or opened, "opened": opened}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _declared(audited: Audit) -> ProtocolRecord:
    protocol = audited.protocol
    return ProtocolRecord.declare(
        signals=list(protocol.signals), counting=list(protocol.counting), alpha=protocol.alpha,
        max_trace=protocol.max_trace, references=protocol.references, declared_at=_now(),
    )  # fmt: skip


def _attempts(setting: Setting, plan: Plan, options: CaseOptions, folder: Folder, watch: CaseListener) -> list[Outcome]:
    """Try the options in order until one is enough."""
    outcomes: list[Outcome] = []
    for number, option in enumerate(plan.order):
        if any(before.method == option.method and before.weights is None for before in outcomes):
            continue  # it crashed within the budget and would crash again without
        own_folder = Folder(folder.root / "attempts" / f"{number}-{option.method}")
        hyperparameters = (options.hyperparameters or {}) if option.method == options.method else {}
        outcomes.append(attempt(setting, option, hyperparameters, own_folder))
        watch.stage("attempt", outcomes[-1])
        if not outcomes[-1].failures:
            break
    if all(tried.verification is None for tried in outcomes):
        raise UsageError(f"no option came to a verdict; the last one: {outcomes[-1].failures[0]}")
    return outcomes


def _answers(folder: Folder, facts: outcome.Facts, module: nn.Module) -> dict[str, Any] | None:
    """Return sample answers of the new model; None where it does not answer in words."""
    exact_files = sorted((folder.root / EXACT_FOLDER).glob("*.safetensors"))
    unseen = answers.never_saw(facts.task, facts.references, facts.final.guarantee, exact_files, facts.options)
    return answers.sample(facts.task, module, unseen, facts.options.show_answers)


def _finish(folder: Folder, facts: outcome.Facts, declared: ProtocolRecord, watch: CaseListener) -> None:
    """Certify, report, and write the result."""
    final = facts.final
    assert final.weights is not None
    envelope, page = folder.path("certificate.json"), folder.path("report.html")
    if not envelope.exists():
        certify(certifying.predicate(facts, declared, envelope), final.weights, facts.workspace, envelope)
    result = outcome.result(facts, envelope, page)
    result |= {"weights_folder": None, "answers": None}
    if isinstance(facts.oracle.model, InFolder | Answering):  # only then are the weights read once more
        module = weights.load_into(weights.clone(facts.oracle.model), final.weights).eval()
        written = weights.save_folder(module, folder.path("model"), final.weights)
        result["weights_folder"] = None if written is None else str(written.absolute())
        result["answers"] = _answers(folder, facts, module)
    if result["answers"] is not None:
        watch.stage("answers", result["answers"])
    if not page.exists():
        write_report(result, outcome.margins(facts), page)
    result["unlearning"]["speed"] = facts.speed.to_dict()  # with the time of the report
    folder.write("result", result)


def _remove_names(folder: Folder, place: Workspace) -> None:
    """Remove names from the files of a closed case; with the workspace's key, the commitment can still be matched."""
    received = folder.read("request")
    if place.policy.name_subject or "commitment" in received:
        return
    request = received["request"]
    nameless = {
        "request": request | dict.fromkeys(("subjects", "rows", "where")),
        "commitment": commitments.commitment(place, [digests.of_json(request)]),
    }
    folder.write("located", outcome.without_names(folder.read("located"), named=False))
    folder.write("request", received | nameless)


def _closed(
    folder: Folder, oracle: TrainedModel, positions: np.ndarray, references: References_, case: str, place: Workspace
) -> Case:
    """Erase what was measured on the rows if the case succeeded, and return the case with the unlearned model."""
    # Exact references are deleted whatever the verdict is, since it is written.
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
        _remove_names(folder, place)
        folder.write("closed", {"case": case})
    module = weights.load_into(weights.clone(oracle.model), Path(result["weights_file"])).eval()
    retained = oracle.data.select(np.setdiff1d(np.arange(len(oracle.data)), positions))
    after = TrainedModel(module, oracle.recipe, retained, oracle.holdout, parent=oracle.lineage)
    if factors is not None:
        kept.factors(after, factors)  # of the rows that are left, so that the next request costs only a solve
    return Case(case, folder.root, after, result, Path(result["certificate"]), Path(result["report"]))
