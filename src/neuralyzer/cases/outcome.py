"""The result of a case as one JSON document, and the margins that its report shows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralyzer.cases.attempt import Outcome
from neuralyzer.cases.options import CaseOptions
from neuralyzer.cases.speed import Speed
from neuralyzer.cases.utilities import utilities
from neuralyzer.certificates.statement import LIMITS
from neuralyzer.models import weights
from neuralyzer.models.kinds.kind import OnFrozenBase
from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.plan import Plan
from neuralyzer.references.pool import References
from neuralyzer.signals.margin import margins as margins_of
from neuralyzer.signals.signal import Batch
from neuralyzer.unlearning.task import Task
from neuralyzer.verification.audit import Audit
from neuralyzer.workspace import commitments
from neuralyzer.workspace.paths import Workspace

NOT_TESTED = (
    "attacks on the references' training seeds",
    "attacks by someone who holds earlier versions of the model",
    "model inversion and reconstruction of rows",
    "adversarially chosen fine-tuning beyond the relearning steps measured",
    "other models, backups, logs and copies that were not registered",
)


@dataclass(frozen=True)
class Facts:
    """All facts of a case; ``done`` is when it was answered, ``retained`` the digest of the rows that are left."""

    case: str
    oracle: TrainedModel
    task: Task
    references: References | None
    workspace: Workspace
    plan: Plan
    audit: Audit
    outcomes: list[Outcome]
    location: dict[str, Any]
    received: dict[str, Any]
    options: CaseOptions
    done: str
    retained: str | None
    began: float = field(default_factory=time.perf_counter)

    @property
    def speed(self) -> Speed:
        """Return the seconds so far; of a resumed case, those since it was resumed."""
        pool, unlearning = self.references, sum(tried.seconds for tried in self.outcomes)
        seconds = max(time.perf_counter() - self.began, unlearning)
        served = 1 if pool is None else len(pool.pool_index.closed) + (self.case not in pool.pool_index.closed)
        return Speed(
            self.options.retrain_seconds, unlearning, seconds, 0.0 if pool is None else pool.store.seconds, served
        )

    @property
    def final(self) -> Outcome:
        """Return the final attempt."""
        return final(self.outcomes)

    @property
    def base(self) -> str | None:
        """Return the digest of the base that the model stands on; None where it has none."""
        model = self.oracle.model
        return model.base_digest() if isinstance(model, OnFrozenBase) else None

    @property
    def names(self) -> list[str]:
        """Return all names in the request, for the commitment."""
        return self.task.request.names

    @property
    def commitment(self) -> str:
        """Return the keyed commitment to the names in the request."""
        return commitments.commitment(self.workspace, self.names)


def final(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the final attempt: the accepted one, else the last that has a verdict."""
    verified = [tried for tried in outcomes if tried.verification is not None]
    accepted = [tried for tried in verified if not tried.failures]
    return (accepted or verified)[-1]


def result(facts: Facts, certificate: Path, report: Path) -> dict[str, Any]:
    """Return the case as ``--json`` prints it; traces are fractions, 1.0 = 100 %."""
    final, pool = facts.final, facts.references
    assert final.verification is not None and final.weights is not None
    before, after = utilities(facts.task, facts.task.model), final.utility
    name = facts.task.objective.utility_name
    both = {key: {"original": before[key], "unlearned": after[key], "retrained": []} for key in ("holdout", "retained")}
    return {
        "case": facts.case,
        "verdict": str(final.verification.verdict),
        "request": _request(facts),
        "policy": facts.workspace.policy.to_dict(),
        "organisation": facts.options.named.get("organisation"),
        "model": facts.options.named.get("model"),
        "located": without_names(facts.location, facts.workspace.policy.name_subject),
        "references": {
            "size": pool.size if pool else 0,
            "tuning": pool.tuning.values.members if pool else 0,
            "judging": pool.evaluation.values.members if pool else 0,
            "digest": pool.digest if pool else None,
            "folder": str(pool.store.root) if pool else None,
            "backend": pool.head["why"] if pool else None,
        },
        "audit": facts.audit.to_dict(),
        "plan": facts.plan.to_dict(),
        "unlearning": {
            "method": final.method,
            "guarantee": str(final.guarantee),
            "hyperparameters": final.hyperparameters,
            "seconds": sum(tried.seconds for tried in facts.outcomes),
            "retrain_seconds": facts.options.retrain_seconds,
            "speed": facts.speed.to_dict(),
            "threads": torch.get_num_threads(),
            "attempts": [
                tried.to_dict() | {"predicted": predicted}
                for tried, predicted in zip(facts.outcomes, _predicted(facts.plan, facts.outcomes), strict=True)
            ],
        },
        "verification": final.verification.to_dict(),
        "acceptance": None if final.acceptance is None else final.acceptance.to_dict(),
        "utility": {
            "name": name,
            f"holdout_{name}": both["holdout"],
            f"retained_{name}": both["retained"],
            "by_class": {
                label: {"original": value, "unlearned": after["by_class"].get(label)}
                for label, value in before["by_class"].items()
            },
        },
        "weights": {"original": facts.oracle.digest, "unlearned": _digest(facts, final.weights), "base": facts.base},
        "weights_file": str(final.weights.absolute()),
        "not_tested": list(NOT_TESTED),
        "limits": list(LIMITS),
        "certificate": str(certificate.absolute()),
        "report": str(report.absolute()),
    }


def _request(facts: Facts) -> dict[str, Any]:
    """Return the request, with its subjects only if the policy allows names."""
    request = facts.task.request
    values: dict[str, Any] = {
        "id": facts.case,
        "reason": request.reason,
        "received": facts.received["received"],
        "done": facts.done,
        "due": request.due,
        "decided_by": request.decided_by,
        "guarantee": str(request.guarantee),
        "budget": request.budget,
        "rows": len(facts.task.positions),
        "commitment": facts.commitment,
    }
    if facts.workspace.policy.name_subject:
        values["subjects"] = facts.names
    return values


def _predicted(plan: Plan, outcomes: list[Outcome]) -> list[dict[str, float | None]]:
    """Return the plan's predictions of each attempt; no seconds for a method's second attempt, without the budget."""
    predictions, before = [], set[str]()
    for tried in outcomes:
        option = next(option for option in plan.options if option.method == tried.method)
        seconds = None if tried.method in before else option.seconds
        predictions.append({"seconds": seconds, "trace": option.trace, "utility": option.utility})
        before.add(tried.method)
    return predictions


def _digest(facts: Facts, path: Path) -> str:
    return weights.digest(weights.load_into(weights.clone(facts.task.model), path))


def without_names(location: dict[str, Any], named: bool) -> dict[str, Any]:
    """Return where the rows are, without the names of other subjects whose rows or names are similar."""
    if named:
        return location
    near = location.get("near", ())  # cases that an early version located have none
    numbers = {name: f"(name {at})" for at, name in enumerate(sorted({hit["name"] for hit in near}), 1)}
    copies = {
        kind: [{**copy, "subject": "(not named)"} for copy in location[kind]]
        for kind in ("duplicates", "near_copies", "also_near")
        if location.get(kind)
    }
    return location | copies | {"near": [{**hit, "name": numbers[hit["name"]], "like": "(not named)"} for hit in near]}


def margins(facts: Facts) -> dict[str, list[float]]:
    """Return margins on the forget rows: of original, unlearned model, and references that never saw or saw them."""
    task, final = facts.task, facts.final
    assert final.weights is not None
    if facts.references is None:
        return {"original": [], "unlearned": [], "never_saw": [], "saw": []}
    split = facts.references.evaluation
    rows = Batch(task.forget.x, task.forget.y)
    context = split.evaluator.context
    module = weights.load_into(weights.clone(task.model), final.weights).eval()
    never, saw = [], []
    for part in task.parts:
        keep, phi = split.values.keep[:, part.subject], split.values.signals["margin"].rows[:, part.rows]
        never.append(phi[split.values.comparable(part.subject, part.rows)])
        saw.append(phi[keep][split.values.rows_held(part.subject, part.rows)])
    return {
        "original": margins_of(task.model, rows, context).tolist(),
        "unlearned": margins_of(module, rows, context).tolist(),
        "never_saw": np.concatenate(never).tolist(),
        "saw": np.concatenate(saw).tolist(),
    }
