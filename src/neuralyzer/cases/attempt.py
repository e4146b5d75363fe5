"""One attempt of a case: unlearning, repair, verification, acceptance tests; and why it was not enough."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from neuralyzer.cases.folder import Folder
from neuralyzer.cases.setting import Given, Setting
from neuralyzer.cases.utilities import utilities
from neuralyzer.data.request import Guarantee
from neuralyzer.errors import NeuralyzerError, StorageError, first_line
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.planning.options import Option
from neuralyzer.references.storage.access_log import MOST_ACCESSES
from neuralyzer.references.training.exact import train_exact
from neuralyzer.trace.left import trace_left
from neuralyzer.trace.verdict import FIRST_ACCESS, SECOND_ACCESS, Verdict
from neuralyzer.unlearning.method import space
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.search import search
from neuralyzer.unlearning.training_audit import TrainingAudit
from neuralyzer.verification.acceptance import Acceptance, run_acceptance
from neuralyzer.verification.verification import Verification
from neuralyzer.verification.verify import verify
from neuralyzer.workspace import atomic

WEIGHTS = "weights.safetensors"  # of an attempt, repaired
CRASHES = (NeuralyzerError, ArithmeticError, RuntimeError, ValueError)  # that an algorithm may raise


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt.

    Attributes:
        method: name of the algorithm.
        guarantee: of its class.
        hyperparameters: as used.
        seconds: of unlearning, tuning and repair.
        failures: why it was not enough; empty where it was.
        weights: file of the new weights; None where it crashed.
        verification: of the new model; None where it was not verified.
        acceptance: of the team's tests; None where there are none or they were not reached.
        utility: of the new model: ``holdout``, ``retained``, ``by_class``.
        trials: hyperparameters that were tried, with their results on the tuning split.
    """

    method: str
    guarantee: Guarantee
    hyperparameters: dict[str, Any]
    seconds: float
    failures: tuple[str, ...] = ()
    weights: Path | None = None
    verification: Verification | None = None
    acceptance: Acceptance | None = None
    utility: dict[str, Any] = field(default_factory=dict)
    trials: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a summary as plain values: ``trace`` is that left by counting families, ``utility`` the holdout's."""
        verdict = None if self.verification is None else str(self.verification.verdict)
        families = () if self.verification is None else self.verification.families
        return {
            "method": self.method, "seconds": self.seconds, "verdict": verdict,
            "trace": trace_left(families), "utility": self.utility.get("holdout"),
            "reason": "; ".join(self.failures) or "accepted", "hyperparameters": self.hyperparameters,
            "trials": list(self.trials),
        }  # fmt: skip


def attempt(setting: Setting, option: Option, hyperparameters: Mapping[str, Any], folder: Folder) -> Outcome:
    """Try one option; an attempt that was killed is resumed after its last finished stage.

    Args:
        setting: of the case.
        option: to try.
        hyperparameters: of its algorithm.
        folder: of this attempt.

    Returns:
        The outcome; its failures say why it was not enough.

    Raises:
        StorageError: if the disk is full, which every other option would find too.
    """
    if option.guarantee is not Guarantee.EXACT and _accesses_spent(setting):
        outcome = _begun(option, hyperparameters)
        return _failed(outcome, "the evaluation split was opened twice for these rows; only exact options remain")
    outcome = unlearn(setting, option, hyperparameters, folder)
    return outcome if outcome.failures else _judged(setting, outcome, folder)


def unlearn(setting: Setting, option: Option, hyperparameters: Mapping[str, Any], folder: Folder) -> Outcome:
    """Unlearn and repair by one option; the evaluation split is not opened.

    Args:
        setting: of the case.
        option: to try.
        hyperparameters: of its algorithm.
        folder: of this attempt.

    Returns:
        The outcome without a verification; its failures say why it need not be judged.

    Raises:
        StorageError: if the disk is full.
    """
    outcome = _begun(option, hyperparameters)
    try:
        model, record = _unlearned(setting, option, hyperparameters, folder)
    except StorageError:
        raise
    except CRASHES as error:
        return _failed(outcome, f"crashed: {type(error).__name__}: {first_line(error)}")
    outcome = replace(
        outcome, hyperparameters=record["hyperparameters"], seconds=record["seconds"],
        weights=folder.path(WEIGHTS), trials=tuple(record["trials"]),
    )  # fmt: skip
    if option.guarantee is Guarantee.EXACT:
        if record["forget_rows"] or not record["steps"]:
            return _failed(outcome, "its training record does not show that no forget row was used")
    elif _rejected_on_tuning_split(setting, model):
        return _failed(outcome, "the tuning split already sees that it has not forgotten; no look was spent")
    return outcome


def _judged(setting: Setting, outcome: Outcome, folder: Folder) -> Outcome:
    """Verify the new weights, measure their utility, and run the team's tests."""
    assert outcome.weights is not None
    exact, path = outcome.guarantee is Guarantee.EXACT, outcome.weights
    model = weights.load_into(weights.clone(setting.task.model), path).eval()
    verification = folder.stage(
        "verification", lambda: _verified(setting, model, exact, folder), Verification.to_dict, Verification.from_dict
    )
    utility = folder.stage("utility", lambda: utilities(setting.task, model), lambda u: u, lambda u: u)
    acceptance = None
    if setting.policy.acceptance is not None:
        command = setting.policy.acceptance
        acceptance = folder.stage(
            "acceptance",
            lambda: run_acceptance(command, path, setting.folder),
            Acceptance.to_dict,
            Acceptance.from_dict,
        )
    failures = _failures(verification, acceptance, None if exact else _lost(setting, utility))
    return replace(outcome, failures=failures, verification=verification, acceptance=acceptance, utility=utility)


def _begun(option: Option, hyperparameters: Mapping[str, Any]) -> Outcome:
    used = catalogue.hyperparameters(catalogue.make(option.method, **hyperparameters))
    return Outcome(option.method, option.guarantee, used, 0.0)


def _failures(verification: Verification, acceptance: Acceptance | None, lost: str | None) -> tuple[str, ...]:
    """Return why an attempt is not enough; ``lost`` is None for an exact option, since every other loses as much."""
    failures = []
    if verification.verdict is Verdict.NOT_FORGOTTEN:
        failures.append("not forgotten")
    retained = verification.retained_control
    if verification.verdict is Verdict.INCONCLUSIVE and retained is not None and not retained.passed:
        # Another option's model may pass the control.
        failures.append("it shows too little of the rows that it kept to be judged")
    if lost is not None:
        failures.append(lost)
    if acceptance is not None and acceptance.failed:
        failures.append(f"{acceptance.failed} acceptance tests failed")
    return tuple(failures)


def _failed(outcome: Outcome, reason: str) -> Outcome:
    return replace(outcome, failures=(reason,))


def _unlearned(
    setting: Setting, option: Option, hyperparameters: Mapping[str, Any], folder: Folder
) -> tuple[nn.Module, dict[str, Any]]:
    """Unlearn, then repair; the weights after each stage are written to the folder, and read back on resuming."""
    task, progress = setting.task, setting.progress
    method = catalogue.make(option.method, **hyperparameters)
    raw, final = folder.path("unlearned.safetensors"), folder.path(WEIGHTS)
    given = setting.given
    if given is not None and not folder.has("repaired"):
        atomic.write_with(final, lambda part: shutil.copyfile(given.weights, part))
        folder.write("unlearned", dict(given.record))
        folder.write("repaired", {"seconds": 0.0})
    if not folder.has("unlearned"):
        task.training_audit, task.tried = TrainingAudit(task.training_audit.forget), []
        task.start(task.request.budget if option.chosen else None)  # the budget binds the first choice only
        began = time.perf_counter()
        if space(method) and not hyperparameters and task.traceable:
            result = search(method, task, progress, notes=folder.path("search"))
            module, trials = result.module, [trial.to_dict() for trial in result.trials]
            method = catalogue.make(option.method, **result.settings)
        else:
            module = method.unlearn(task, progress)
            trials = task.tried
        seconds = time.perf_counter() - began
        weights.require_finite(weights.state(module), f"what {method.name} left")
        weights.save(module, raw)
        training_audit = task.training_audit
        folder.write(
            "unlearned",
            {
                "seconds": seconds,
                "steps": training_audit.steps or len(training_audit.rows),
                "forget_rows": training_audit.forget_rows,
                "hyperparameters": catalogue.hyperparameters(method),
                "trials": trials,
            },
        )
    record = folder.read("unlearned")
    if not folder.has("repaired"):
        module = weights.load_into(weights.clone(task.model), raw)
        began = time.perf_counter()
        module = Repair().mend(module, task, progress) if method.repaired else module
        seconds = time.perf_counter() - began
        weights.save(module, final)
        folder.write("repaired", {"seconds": seconds if method.repaired else 0.0})
    record["seconds"] += folder.read("repaired")["seconds"]
    return weights.load_into(weights.clone(task.model), final).eval(), record


def _accesses_spent(setting: Setting) -> bool:
    """Return whether the evaluation split was opened as often as allowed for these rows."""
    if setting.references is None:
        return False
    oracle = setting.task.oracle
    return (
        setting.references.access_log.count(oracle.lineage, setting.references.names(setting.task.parts))
        >= MOST_ACCESSES
    )


def _rejected_on_tuning_split(setting: Setting, model: nn.Module) -> bool:
    """Return whether the joint test on the tuning split rejects the model; False where the pool cannot answer."""
    task = setting.task
    if setting.answerable is not None or not task.traceable:
        return False
    return task.estimator.read(model, setting.protocol.counting).rejects


def _verified(setting: Setting, model: nn.Module, exact: bool, folder: Folder) -> Verification:
    task, number = setting.task, 0
    if not exact and setting.references is not None and task.traceable:
        # Recorded before the access, and once: a case that was killed here does not use up a second one.
        if not folder.has("look"):
            accessor = f"{folder.root.parent.parent.name}/{folder.root.name}"
            names = setting.references.names(task.parts)
            number = setting.references.access_log.record(task.oracle.lineage, names, accessor)
            folder.write("look", {"number": number})
        number = folder.read("look")["number"]
    judges: Sequence[nn.Module] = ()
    if setting.exact_references and not exact and setting.references is not None:
        judges = train_exact(
            task.oracle, task.positions, setting.exact_folder, setting.exact_references, setting.progress,
            task.placement,
        )  # fmt: skip
    return verify(
        model, task.oracle, task.request, setting.references, setting.policy, protocol=setting.protocol, exact=exact,
        found=SECOND_ACCESS if number == 2 else FIRST_ACCESS, looks=number or None, answerable=setting.answerable,
        exact_references=judges, registered=setting.known,
    )  # fmt: skip


def _lost(setting: Setting, utility: Mapping[str, Any]) -> str | None:
    """Return why too much utility was lost against what the references predict; None where it was not."""
    objective = setting.task.objective
    if setting.members_utility is None or utility["holdout"] is None:
        return None
    lost = objective.utility_loss(setting.members_utility, utility["holdout"])
    allowed = setting.policy.max_utility_loss
    allowed = objective.max_utility_loss if allowed is None else allowed
    if lost <= allowed:
        return None
    return f"lost {lost:.3f} of {objective.utility_name} against what the references predict, over {allowed:.3f}"


def shared(outcome: Outcome, folder: Folder, retained: str | None) -> Given:
    """Return the weights of an attempt, to be judged for several requests.

    Args:
        outcome: of the attempt, which left weights.
        folder: of the attempt.
        retained: digest of the rows that are left by all of the requests.

    Returns:
        The weights, and the record of how they were made.
    """
    assert outcome.weights is not None
    used = {"seconds": outcome.seconds, "hyperparameters": outcome.hyperparameters}
    return Given(outcome.method, outcome.weights, folder.read("unlearned") | used, retained)
