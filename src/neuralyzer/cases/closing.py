"""The end of a case: certificate, report, result; then what was measured on the rows is erased."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from neuralyzer.cases import answers, outcome
from neuralyzer.cases import certificate as certifying
from neuralyzer.cases.case import Case, succeeded
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.listener import CaseListener
from neuralyzer.certificates.certify import certify
from neuralyzer.certificates.statement import ProtocolRecord
from neuralyzer.influence import kept
from neuralyzer.models import shard_record, weights
from neuralyzer.models.kinds.answers import Answering
from neuralyzer.models.kinds.kind import InFolder
from neuralyzer.models.sharded import Sharded
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.references.training import exact
from neuralyzer.report.page import write_report
from neuralyzer.trace.estimator import nulls_to_keep
from neuralyzer.workspace import commitments, digests
from neuralyzer.workspace.paths import Workspace

EXACT_FOLDER = "exact"
References_ = References | Callable[[], References | None] | None


def _answers(folder: Folder, facts: outcome.Facts, module: nn.Module) -> dict[str, Any] | None:
    """Return sample answers of the new model; None where it does not answer in words."""
    exact_files = sorted((folder.root / EXACT_FOLDER).glob("*.safetensors"))
    unseen = answers.never_saw(facts.task, facts.references, facts.final.guarantee, exact_files, facts.options)
    return answers.sample(facts.task, module, unseen, facts.options.show_answers)


def finish(folder: Folder, facts: outcome.Facts, declared: ProtocolRecord, watch: CaseListener) -> None:
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


def closed(
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
