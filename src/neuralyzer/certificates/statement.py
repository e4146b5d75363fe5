"""The content of a certificate: an in-toto Statement v1 with our own predicate; each field has its description."""

import datetime as dt
import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, ValidationError

from neuralyzer.certificates.controls import PositiveControlRecord, Record, SelfCheckRecord
from neuralyzer.certificates.ledger_record import LedgerRecord
from neuralyzer.certificates.model_records import Digest, TrainingRecord, WeightsRecord
from neuralyzer.errors import CertificateError
from neuralyzer.workspace import digests

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Literal["https://neuralyzer.dev/erasure/v1"] = "https://neuralyzer.dev/erasure/v1"

LIMITS = (
    "It assumes an honest operator, who uses the weights certified and keeps no copy of the old (arXiv 2408.00929).",
    "It says nothing of attacks that were not run.",
    "It says nothing of backups, logs or copies elsewhere, nor of systems that were not registered.",
    "The verdict measures outputs and gradients; the guarantee names the algorithm's class, no proof of these weights.",
)
"""The limits of every certificate; each check prints them."""


def _moment(text: str) -> str:
    dt.datetime.fromisoformat(text)
    return text


Moment = Annotated[str, AfterValidator(_moment)]
Guarantee = Literal["exact", "clean", "certified", "strong", "weak"]
Basis = Literal["exact", "statistical"]
State = Literal["found", "erased", "not reachable"]
Verdict = Literal["forgotten", "not forgotten", "untraceable", "inconclusive"]


class RequestRecord(Record):
    """The request that was answered."""

    id: str = Field(description="the request's id")
    reason: str = Field(description="why erasure was asked: privacy, bias, stale, poison, or the person's own word")
    received: Moment = Field(description="when the request came in, ISO 8601")
    due: Moment | None = Field(description="the legal date by which it had to be answered, ISO 8601; null if none")
    done: Moment = Field(description="when it was answered, ISO 8601")
    decided_by: str | None = Field(description="who decided; null if nobody is named")
    guarantee: Guarantee = Field(description="the weakest guarantee that was asked for")
    rows: int = Field(ge=0, description="how many rows of training data the request covers")
    commitment: str = Field(
        pattern=r"^hmac-sha256:[0-9a-f]{64}$",
        description="keyed commitment to the subjects' names; erasing the operator's key erases the names",
    )
    subjects: list[str] | None = Field(
        default=None, description="the subjects' names, only where the policy says name_subject; else null"
    )


class Holding(Record):
    """A place that could hold the subject's data, and its state after the erasure."""

    name: str = Field(description="what it is called")
    digest: Digest | None = Field(description="SHA-256 of its content; null where it has none")
    state: State = Field(description="found (data was there and stays, see note), erased, or not reachable")
    note: str = Field(default="", description="what a reader must know of it")


class MethodRecord(Record):
    """The method by which the model was made to forget."""

    name: str = Field(description="the algorithm")
    guarantee: Guarantee = Field(description="what the algorithm's class promises (arXiv 2306.03558)")
    basis: Basis = Field(description="exact: by construction; statistical: by what was measured")
    hyperparameters: dict[str, JsonValue] = Field(description="every hyperparameter as used, tuned ones too")
    seed: int = Field(description="seed of all randomness; with the same environment the weights repeat bit by bit")
    code_digest: Digest = Field(description="SHA-256 of the code of Neuralyzer that ran")
    environment_digest: Digest = Field(description="SHA-256 of the list of installed packages and their versions")
    versions: dict[str, str] = Field(description="versions of Python and of the packages that compute")
    threads: int | None = Field(
        default=None,
        ge=1,
        description="threads that it was computed with; with as many, bits repeat; null in older records",
    )
    escalated_from: list[str] = Field(
        default_factory=list,
        description="options tried before and why each was not enough, and whether the budget was passed",
    )


class ProtocolRecord(Record):
    """The protocol of the verdict, written and hashed before unlearning began."""

    signals: list[str] = Field(description="signals that were to be measured")
    counting: list[str] = Field(description="families that count: able to find the original's whole trace")
    alpha: float = Field(gt=0, lt=1, description="error rate of the joint test")
    max_trace: float = Field(gt=0, description="largest detectable trace with which a family may say forgotten")
    references: Digest | None = Field(description="digest of the references that judge; null for exact options without")
    declared_at: Moment = Field(description="when this was written, ISO 8601")
    digest: Digest = Field(description="SHA-256 of the fields above as JSON with sorted keys and no spaces")

    @classmethod
    def declare(
        cls,
        *,
        signals: list[str],
        counting: list[str],
        alpha: float,
        max_trace: float,
        references: str | None,
        declared_at: str,
    ) -> Self:
        """Make a protocol with its digest.

        Args:
            signals: signals to be measured.
            counting: families that count.
            alpha: error rate of the joint test.
            max_trace: largest detectable trace allowed.
            references: digest of the references.
            declared_at: ISO 8601.

        Returns:
            The protocol with its digest filled in.
        """
        fields: dict[str, Any] = {
            "signals": signals,
            "counting": counting,
            "alpha": float(alpha),
            "max_trace": float(max_trace),
            "references": references,
            "declared_at": declared_at,
        }
        return cls(digest=digests.of_json(fields), **fields)

    def recomputed(self) -> str:
        """Return the digest of the fields; it differs from ``digest`` if a field was changed."""
        return digests.of_json(self.model_dump(mode="json", exclude={"digest"}))


class Reading(Record):
    """A residual trace with its interval; 1.0 is a model trained on the rows, 0.0 one that never saw them."""

    trace: float | None = Field(description="residual trace as a fraction; null where it was not measured")
    low: float | None = Field(description="lower end of its interval")
    high: float | None = Field(description="upper end of its interval")


class FamilyRecord(Record):
    """One family's traces before and after unlearning."""

    family: str = Field(description="retraining, attack, relearning, accuracy or information")
    signal: str = Field(description="the signal that stands for the family")
    counts: bool = Field(description="whether the family counts for the verdict, as declared in the protocol")
    before: Reading = Field(description="the original model")
    after: Reading = Field(description="the unlearned model, on the evaluation split")
    detectable: float | None = Field(description="smallest trace that would have been found; null if not measured")


class VerificationRecord(Record):
    """The verdict and its basis."""

    verdict: Verdict = Field(description="forgotten, not forgotten, untraceable or inconclusive")
    basis: Basis = Field(description="exact: the training record shows no forget row; statistical: the joint test")
    p_value: float | None = Field(ge=0, le=1, description="of the joint test over all families; null if none was made")
    detectable: float | None = Field(description="largest detectable trace among the counting families")
    bound: float | None = Field(
        default=None,
        description="smallest trace that would have been found by retraining or attack, and by relearning too where the "
        "request has it; null where one does not count, and in older records",
    )
    families: list[FamilyRecord] = Field(description="each family before and after")
    self_check: SelfCheckRecord | None = Field(description="the test's own false alarms; null without a pool")
    looks: int = Field(
        ge=0, description="how often the evaluation split was opened for this subject, this time included"
    )
    positive_control: PositiveControlRecord | None = Field(
        default=None, description="how often the test finds the original; null without a pool and in older records"
    )
    retained_control: PositiveControlRecord | None = Field(
        default=None,
        description="how often the test finds the unlearned model on subjects that it should still hold; "
        "null where the training record decides, where nobody else is there, and in older records",
    )


class UtilityRecord(Record):
    """The model's utility before and after unlearning."""

    name: str = Field(description="the measure, such as accuracy")
    before: dict[str, float | None] = Field(description="the original, by set of rows (holdout, retained, classes)")
    after: dict[str, float | None] = Field(description="the unlearned model, by the same sets")


class AcceptanceRecord(Record):
    """The team's own tests on the new weights."""

    passed: int = Field(ge=0, description="how many passed")
    failed: int = Field(ge=0, description="how many failed")


class Predicate(Record):
    """All that a certificate states about one erasure."""

    request: RequestRecord = Field(description="the request that was answered")
    systems: list[Holding] = Field(description="systems that hold the subject's data or models trained on it")
    datasets: list[Holding] = Field(description="versions of data sets")
    models: list[Holding] = Field(description="versions of models")
    derived_models: list[Holding] = Field(description="models made from those: fine-tuned, distilled, quantised")
    checkpoints: list[Holding] = Field(description="checkpoints of the training runs")
    references: list[Holding] = Field(description="reference models, which were trained on the subject's data too")
    method: MethodRecord = Field(description="how the model was made to forget")
    protocol: ProtocolRecord = Field(description="how it would be judged, declared before unlearning")
    verification: VerificationRecord = Field(description="the verdict and what it rests on")
    utility: UtilityRecord | None = Field(description="utility before and after; null without holdout")
    acceptance: AcceptanceRecord | None = Field(description="the team's acceptance tests; null if there are none")
    attacks_run: list[str] = Field(description="attacks that were run on the unlearned model")
    attacks_not_run: list[str] = Field(description="attacks that were not run; nothing is known of them")
    weights: WeightsRecord = Field(description="digests of the weights files")
    training: TrainingRecord | None = Field(
        default=None, description="recipe and rows that the weights come of; null in older records"
    )
    members_that_saw: list[int] = Field(
        description="references that saw the subject and whose measurements of other people's rows are kept"
    )
    not_erased: list[str] = Field(description="what still derives from the subject's data, such as fitted scalers")
    how_to_check: str = Field(description="the command that checks this certificate")
    ledger: LedgerRecord | None = Field(
        default=None,
        description="the verdict's entry in the operator's ledger; null without ledger and in older records",
    )
    limits: list[str] = Field(default_factory=lambda: list(LIMITS), description="what it does not prove")


class DigestSet(Record):
    """Digests of one file, as in-toto has them."""

    sha256: Digest = Field(description="hexadecimal SHA-256")


class StatementSubject(Record):
    """The file that a statement is about."""

    name: str = Field(description="file name of the unlearned weights")
    digest: DigestSet = Field(description="its digests")


class Statement(Record):
    """An in-toto Statement v1 about the unlearned weights."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(
        default=STATEMENT_TYPE, alias="_type", description="the version of in-toto's format"
    )
    subject: list[StatementSubject] = Field(min_length=1, max_length=1, description="the unlearned weights file")
    predicate_type: Literal["https://neuralyzer.dev/erasure/v1"] = Field(
        default=PREDICATE_TYPE, alias="predicateType", description="the version of the predicate below"
    )
    predicate: Predicate = Field(description="what is stated about it")

    def to_bytes(self) -> bytes:
        """Return the statement as JSON with sorted keys, which is the payload that is signed."""
        content = self.model_dump(mode="json", by_alias=True)
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read a verified payload.

        Args:
            payload: as :meth:`to_bytes` writes it.

        Returns:
            The statement.

        Raises:
            CertificateError: if it is no statement of ours; the message names the first field that is wrong.
        """
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
            raise CertificateError(f"its content is no statement of ours: {place}: {first['msg']}{more}") from error
