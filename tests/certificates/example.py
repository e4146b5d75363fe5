"""A predicate with something in every field."""

from neuralyzer.certificates.controls import SelfCheckRecord
from neuralyzer.certificates.model_records import TrainingRecord, WeightsRecord
from neuralyzer.certificates.statement import (
    AcceptanceRecord,
    FamilyRecord,
    Holding,
    MethodRecord,
    Predicate,
    ProtocolRecord,
    Reading,
    RequestRecord,
    UtilityRecord,
    VerificationRecord,
)
from neuralyzer.workspace import digests

WEIGHTS = b"the unlearned weights"


def predicate(**changes) -> Predicate:
    nothing = digests.of_bytes(b"")
    fields = {
        "request": RequestRecord(
            id="case-1",
            reason="privacy",
            received="2026-11-24",
            due="2026-12-24",
            done="2026-11-24T12:00:00+00:00",
            decided_by="Dr. Data",
            guarantee="weak",
            rows=72,
            commitment="hmac-sha256:" + 64 * "0",
        ),
        "systems": [Holding(name="demo", digest=None, state="erased")],
        "datasets": [Holding(name="digits v1", digest=nothing, state="erased")],
        "models": [Holding(name="Oracle", digest=nothing, state="erased", note="the original file stays on the disk")],
        "derived_models": [],
        "checkpoints": [Holding(name="step 200", digest=None, state="not reachable", note="on another machine")],
        "references": [Holding(name="pool", digest=nothing, state="erased")],
        "method": MethodRecord(
            name="influence",
            guarantee="weak",
            basis="statistical",
            hyperparameters={"damping": 0.01, "steps": 1, "layers": ["a", "b"], "curvature": None},
            seed=0,
            code_digest=nothing,
            environment_digest=nothing,
            versions={"python": "3.11.7"},
        ),
        "protocol": ProtocolRecord.declare(
            signals=["margin", "fisher"],
            counting=["retraining"],
            alpha=0.05,
            max_trace=1.0,
            references=nothing,
            declared_at="2026-11-24T11:59:00+00:00",
        ),
        "verification": VerificationRecord(
            verdict="forgotten",
            basis="statistical",
            p_value=0.64,
            detectable=0.61,
            families=[
                FamilyRecord(
                    family="retraining",
                    signal="margin",
                    counts=True,
                    before=Reading(trace=1.04, low=0.86, high=1.22),
                    after=Reading(trace=0.03, low=-0.15, high=0.21),
                    detectable=0.4,
                )
            ],
            self_check=SelfCheckRecord(alarms=3, groups=96),
            looks=1,
        ),
        "utility": UtilityRecord(name="accuracy", before={"holdout": 0.989}, after={"holdout": 0.986}),
        "acceptance": AcceptanceRecord(passed=5, failed=0),
        "attacks_run": ["margin", "fisher"],
        "attacks_not_run": ["model inversion"],
        "weights": WeightsRecord(original=nothing, unlearned=digests.of_bytes(WEIGHTS)),
        "training": TrainingRecord(recipe=nothing, retained=nothing, holdout=None),
        "members_that_saw": [0, 3],
        "not_erased": ["the scaler fitted on all rows"],
        "how_to_check": "neuralyzer certificate verify certificate.json --weights unlearned.safetensors",
    }
    return Predicate(**(fields | changes))
