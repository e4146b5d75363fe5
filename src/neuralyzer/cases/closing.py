"""The end of a case: certificate, report, result; then what was measured on the rows is erased."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Ended:
    """A case with a result.

    Attributes:
        id: of the case.
        folder: of the case.
        positions: of its rows in the model's data.
    """

    id: str
    folder: Folder
    positions: np.ndarray


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


def remove_names(folder: Folder, place: Workspace) -> None:
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


def close(ended: Sequence[Ended], oracle: TrainedModel, references: References_, place: Workspace) -> list[Case]:
    """Close cases that share one set of weights; erase what was measured on the rows of those that succeeded.

    Args:
        ended: cases with a result.
        oracle: the model that they began with.
        references: its pool, or a function that returns it; opened only where something is to be erased.
        place: the workspace.

    Returns:
        The cases, with the unlearned model.
    """
    results, factors = [case.folder.read("result") for case in ended], None
    for case in ended:
        # Exact references are deleted whatever the verdict is, since it is written.
        exact.destroy(case.folder.root / EXACT_FOLDER)
    done = [case for case, result in zip(ended, results, strict=True) if succeeded(result)]
    still_open = [case for case in done if not case.folder.has("closed")]
    path = results[0]["references"]["folder"]
    measured = [case for case in still_open if path is not None and not References.closed(path, case.id)]
    pool = (references() if callable(references) else references) if measured else None
    if pool is not None:
        factors = pool.store.curvature if pool.store.curvature.exists() else None
        gone = _rows(measured)
        nulls = nulls_to_keep(pool, gone, results[0]["policy"]["alpha"])
        pool.erase(gone, [case.id for case in measured], nulls)
    for case in still_open:
        if isinstance(oracle.recipe.train, Sharded):
            shard_record.erase(oracle.recipe.train.folder, oracle.data.ids[case.positions].tolist())
        remove_names(case.folder, place)
        case.folder.write("closed", {"case": case.id})
    module = weights.load_into(weights.clone(oracle.model), Path(results[0]["weights_file"])).eval()
    left = np.setdiff1d(np.arange(len(oracle.data)), _rows(done or ended))
    after = TrainedModel(module, oracle.recipe, oracle.data.select(left), oracle.holdout, parent=oracle.lineage)
    if factors is not None:
        kept.factors(after, factors)  # of the rows that are left, so that the next request costs only a solve
    return [
        Case(case.id, case.folder.root, after, result, Path(result["certificate"]), Path(result["report"]))
        for case, result in zip(ended, results, strict=True)
    ]


def _rows(cases: Sequence[Ended]) -> np.ndarray:
    return np.unique(np.concatenate([case.positions for case in cases]))
