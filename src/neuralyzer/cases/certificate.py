"""The certificate's content, filled in from the facts of a case."""

import platform
from dataclasses import asdict
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

import neuralyzer
from neuralyzer.cases.outcome import NOT_TESTED, Facts
from neuralyzer.cases.utilities import utilities
from neuralyzer.certificates import controls
from neuralyzer.certificates import statement as cert
from neuralyzer.certificates.ledger_record import LedgerRecord, record_verified
from neuralyzer.certificates.model_records import TrainingRecord, WeightsRecord
from neuralyzer.ledger.events import Facts as Told
from neuralyzer.ledger.subject_keys import names_in
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.sharded import Sharded
from neuralyzer.registry.location import Base
from neuralyzer.trace.positive_control import PositiveControl
from neuralyzer.verification.verification import EXACT, Verification
from neuralyzer.workspace import digests

NAMED = ("torch", "numpy", "scipy", "safetensors", "curvlinops-for-pytorch")  # libraries whose versions are recorded


def predicate(facts: Facts, protocol: cert.ProtocolRecord, envelope: Path) -> cert.Predicate:
    """Return the certificate's predicate; with a ledger the verdict is entered there first.

    Args:
        facts: of the case.
        protocol: as it was declared before unlearning.
        envelope: path of the certificate, for the command that checks it.

    Returns:
        The predicate.
    """
    final, request, pool = facts.final, facts.task.request, facts.references
    verification = final.verification
    assert verification is not None and final.weights is not None
    unlearned = digests.of_file(final.weights)
    # Texts whose allowed values the certificate's model checks.
    wanted, promised, basis = _words(facts)
    names = facts.names if facts.workspace.policy.name_subject else None
    return cert.Predicate(
        request=cert.RequestRecord(
            id=facts.case,
            reason=request.reason,
            received=facts.received["received"],
            due=request.due,
            done=facts.done,
            decided_by=request.decided_by,
            guarantee=wanted,
            rows=len(facts.task.positions),
            commitment=facts.commitment,
            subjects=names,
        ),
        systems=[
            cert.Holding(
                name="the model's lineage",
                digest=facts.oracle.lineage,
                state="erased",
                note="the unlearned weights replace the original in service; the operator must deploy them",
            ),
        ],
        datasets=[
            cert.Holding(
                name=hit["name"],
                digest=hit["digest"],
                state="found",
                note=f"{hit['rows']} rows; to be deleted there by the operator",
            )
            for hit in facts.location["datasets"]
        ],
        models=[
            cert.Holding(
                name="original",
                digest=facts.oracle.digest,
                state="found",
                note="kept unchanged by Neuralyzer; to be withdrawn by the operator",
            ),
            cert.Holding(name="unlearned", digest=unlearned, state="erased"),
            *_bases(facts.location),
        ],
        derived_models=_derived(facts.location),
        checkpoints=[
            cert.Holding(
                name=run["name"],
                digest=run["weights"],
                state="found",
                note="its checkpoints after the first step on these rows hold them",
            )
            for run in facts.location["runs"]
        ]
        + _slices(facts.oracle.recipe),
        references=_references(facts),
        method=cert.MethodRecord(
            name=final.method,
            guarantee=promised,
            basis=basis,
            hyperparameters={name: value for name, value in final.hyperparameters.items()},
            seed=facts.options.seed,
            code_digest=code_digest(),
            environment_digest=digests.of_json(_environment()),
            versions=versions(),
            threads=torch.get_num_threads(),
            escalated_from=[f"{o.method}: {'; '.join(o.failures)}" for o in facts.outcomes if o is not final],
        ),
        protocol=protocol,
        verification=verification_record(verification),
        utility=_utility(facts),
        acceptance=None
        if final.acceptance is None
        else cert.AcceptanceRecord(passed=final.acceptance.passed, failed=final.acceptance.failed),
        attacks_run=[row["signal"] for row in verification.families] + _known_attacks(verification),
        attacks_not_run=list(NOT_TESTED),
        weights=WeightsRecord(
            original=facts.oracle.digest,
            unlearned=unlearned,
            original_file=facts.oracle.file,
            tensors=weights.tensors_digest(final.weights),
            base=facts.base,
        ),
        training=_training(facts),
        members_that_saw=[] if pool is None else pool.saw(facts.task.positions),
        not_erased=[]
        if facts.oracle.recipe.train is None and facts.oracle.recipe.command is None
        else ["what the user's own training code derives from rows, such as scalers and vocabularies"],
        how_to_check=f"neuralyzer certificate verify {envelope.name} --weights {final.weights.name}",
        ledger=_entered(facts, unlearned),
    )


def verification_record(verification: Verification) -> cert.VerificationRecord:
    """Return a verification as the certificate has it."""
    verdict: Any = str(verification.verdict)  # the certificate's model checks the allowed words
    basis: Any = verification.basis
    check = verification.self_check
    return cert.VerificationRecord(
        verdict=verdict,
        basis=basis,
        p_value=verification.p_value,
        detectable=verification.detectable,
        bound=verification.bound,
        families=[_family(row) for row in verification.families],
        self_check=None if check is None else controls.SelfCheckRecord(**asdict(check)),
        looks=verification.looks,
        positive_control=_control(verification.positive_control),
        retained_control=_control(verification.retained_control),
    )


def _entered(facts: Facts, unlearned: str) -> LedgerRecord | None:
    """Enter the verdict in the ledger, and return the proof of it; None without a ledger."""
    verification = facts.final.verification
    if facts.options.ledger is None or verification is None:
        return None
    told = Told(
        weights=unlearned, before=facts.oracle.digest, verdict=verification.verdict, method=facts.final.method
    )  # fmt: skip
    return record_verified(facts.options.ledger, facts.case, names_in(facts.task.request), told)


def _control(control: PositiveControl | None) -> controls.PositiveControlRecord | None:
    return None if control is None else controls.PositiveControlRecord.model_validate(control.to_dict())


def _derived(location: dict[str, Any]) -> list[cert.Holding]:
    """Return copies and models derived from models that saw the rows; none in a case located by an older version."""
    return [
        cert.Holding(
            name=model["name"],
            digest=model["digest"],
            state="found" if model["reachable"] else "not reachable",
            note=f"{model['kind']}; "
            + (
                "not changed here; to be withdrawn or unlearned by the operator"
                if model["reachable"]
                else model["reason"]
            ),
        )
        for model in location.get("derived", ())
    ]


def _bases(location: dict[str, Any]) -> list[cert.Holding]:
    """Return the pretrained bases that saw the rows or may have seen them."""
    bases = [Base(**base) for base in location.get("bases", ())]
    return [
        cert.Holding(
            name=f"pretrained base {base.name or base.digest[:12]}",
            digest=base.digest,
            state="found" if base.saw == "yes" else "not reachable",
            note=str(base),
        )
        for base in bases
        if base.saw != "no"
    ]


def _training(facts: Facts) -> TrainingRecord | None:
    if facts.retained is None:
        return None
    oracle = facts.oracle
    holdout = None if oracle.holdout is None else oracle.holdout.digest
    return TrainingRecord(recipe=oracle.recipe.digest, retained=facts.retained, holdout=holdout)


def _words(facts: Facts) -> tuple[Any, Any, Any]:
    verification = facts.final.verification
    assert verification is not None
    return str(facts.task.request.guarantee), str(facts.final.guarantee), verification.basis


def _slices(recipe: Recipe) -> list[cert.Holding]:
    if not isinstance(recipe.train, Sharded):
        return []
    note = "those of trainings that saw these rows are deleted when the case closes"
    return [cert.Holding(name="checkpoints of sharded trainings", digest=None, state="erased", note=note)]


def _references(facts: Facts) -> list[cert.Holding]:
    pool = facts.references
    if pool is None:
        return []
    kept = pool.head["keep_weights"]
    return [
        cert.Holding(
            name=f"{pool.size} reference models",
            digest=pool.digest,
            state="found" if kept else "erased",
            note="their weights are kept"
            if kept
            else "their weights were destroyed once measured; what was "
            "measured on these rows is erased when the case closes, but for scores by member, none by row, of a "
            "subject all of whose rows go",
        ),
        *_exact_references(facts.final.verification),
    ]


def _known_attacks(verification: Verification) -> list[str]:
    scores = () if verification.attacks is None else verification.attacks.scores
    return sorted({score["attack"] for score in scores if score["model"] == "unlearned"})


def _exact_references(verification: Verification | None) -> list[cert.Holding]:
    """Return the exact references of a verdict, if any; the self-check tests each of them, so its count is theirs."""
    if verification is None or verification.judges != EXACT or verification.self_check is None:
        return []
    note = "trained on exactly the retained rows once the weights were final; they judged in the pool's place"
    name = f"{verification.self_check.groups} exact references"
    return [cert.Holding(name=name, digest=None, state="erased", note=f"{note} and are deleted when the case closes")]


def _family(row: dict[str, Any]) -> cert.FamilyRecord:
    return cert.FamilyRecord(
        family=row["family"],
        signal=row["signal"],
        counts=row["counts"],
        detectable=row["detectable"],
        before=cert.Reading(trace=row["original"], low=None, high=None),
        after=cert.Reading(trace=row["unlearned"], low=row["low"], high=row["high"]),
    )


def _utility(facts: Facts) -> cert.UtilityRecord | None:
    before, after = utilities(facts.task, facts.task.model), facts.final.utility
    if before["holdout"] is None:
        return None

    def flat(utility: dict[str, Any]) -> dict[str, float | None]:
        classes = {f"holdout, class {label}": value for label, value in utility["by_class"].items()}
        return {"holdout": utility["holdout"], "retained": utility["retained"], **classes}

    return cert.UtilityRecord(name=facts.task.objective.utility_name, before=flat(before), after=flat(after))


@cache
def code_digest() -> str:
    """Return the SHA-256 over the package's Python files."""
    root = Path(neuralyzer.__file__).parent
    return digests.of_texts(
        text for path in sorted(root.rglob("*.py")) for text in (str(path.relative_to(root)), path.read_text())
    )


@cache
def _environment() -> tuple[str, ...]:
    """Return every installed distribution with its version."""
    return tuple(sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}))


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries that compute."""
    ours = {"python": platform.python_version(), "neuralyzer-unlearning": neuralyzer.__version__}
    installed = dict(entry.split("==", 1) for entry in _environment())
    return ours | {name: installed[name] for name in NAMED if name in installed}
