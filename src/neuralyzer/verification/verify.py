"""The verdict on a model: does it still hold the requested rows? Read on the evaluation split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.black_box import BlackBox, Predict
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import Part
from neuralyzer.references.training.exact import NO_POOL
from neuralyzer.trace.estimator import Estimates
from neuralyzer.trace.exact import ExactEstimator
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.trace.positive_control import PositiveControl
from neuralyzer.trace.residual import FOUND
from neuralyzer.trace.self_check import SelfCheck
from neuralyzer.trace.verdict import Verdict, bound, decide
from neuralyzer.verification.attacks import Attacks, attacks
from neuralyzer.verification.audit import audit, required
from neuralyzer.verification.controls import Controls, groups_of, original_control, retained_control
from neuralyzer.verification.protocol import Protocol
from neuralyzer.verification.settling import JUDGES, RETRAIN, AnyEstimator, rows_needed
from neuralyzer.verification.words import NOT_FOUND, OTHERWISE, TRAINED, remaining, sentence
from neuralyzer.workspace.policy import Policy

POOL, EXACT = "pool", "exact references"


@dataclass(frozen=True)
class Verification:
    """What the evaluation split says of a model.

    Attributes:
        verdict: one of the four words.
        basis: ``exact`` where the training record decides, ``statistical`` where the joint test does.
        p_value: of the joint test; None where nothing could be read.
        alpha: its error rate.
        detectable: the largest detectable trace among the counting families; None where none counts.
        families: a line a signal: family, signal, original, unlearned, low, high, detectable, counts, null_low,
            null_high (where models that never saw the rows lie), p_value, retrained (filled in by the demo alone).
        self_check: false alarms of the same test on holdout rows: the negative control.
        looks: how often the evaluation split was opened for this request, this time included.
        sentence: the verdict in plain words.
        judges: what the model was held against: ``pool``, or ``exact references`` trained on just the retain set.
        attacks: LiRA and RMIA on the original and on the model; None where they cannot be computed.
        not_measured: the references' signals that these rows, or the model under test, do not have.
        positive_control: how often the same test finds the original on subjects that it saw; None without references.
        bound: the smallest trace that would have been found by retraining or attack, and by relearning too where the
            request has it; None where one of them does not count.
        retained_control: how often the same test finds the model on subjects that it should still hold; None where an
            exact record decides, or where there is no other subject.
        remains: how much of the trace may remain, the upper end of the interval of the family that speaks for all; None
            where no family counts.
        settled_by: options of ``forget`` that would settle an inconclusive verdict, the cheaper one first.
    """

    verdict: Verdict
    basis: str
    p_value: float | None
    alpha: float
    detectable: float | None
    families: tuple[dict[str, Any], ...]
    self_check: SelfCheck | None
    looks: int
    sentence: str
    judges: str = POOL
    attacks: Attacks | None = None
    not_measured: tuple[str, ...] = ()
    positive_control: PositiveControl | None = None
    bound: float | None = None
    retained_control: PositiveControl | None = None
    remains: float | None = None
    settled_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The verification as plain values."""
        return {
            "verdict": str(self.verdict),
            "basis": self.basis,
            "p_value": self.p_value,
            "alpha": self.alpha,
            "detectable": self.detectable,
            "bound": self.bound,
            "remains": self.remains,
            "settled_by": list(self.settled_by),
            "families": list(self.families),
            "looks": self.looks,
            "self_check": None if self.self_check is None else asdict(self.self_check),
            "positive_control": None if self.positive_control is None else self.positive_control.to_dict(),
            "retained_control": None if self.retained_control is None else self.retained_control.to_dict(),
            "sentence": self.sentence,
            "judges": self.judges,
            "attacks": None if self.attacks is None else self.attacks.to_dict(),
            "not_measured": list(self.not_measured),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Verification":
        """The verification that ``to_dict`` wrote down."""
        check = values["self_check"]
        return cls(
            Verdict(values["verdict"]),
            values["basis"],
            values["p_value"],
            values["alpha"],
            values["detectable"],
            tuple(values["families"]),
            None if check is None else SelfCheck(**check),
            values["looks"],
            values["sentence"],
            values.get("judges", POOL),
            None if values.get("attacks") is None else Attacks.from_dict(values["attacks"]),
            tuple(values.get("not_measured", ())),
            PositiveControl.optional(values.get("positive_control")),
            values.get("bound"),
            PositiveControl.optional(values.get("retained_control")),
            values.get("remains"),
            tuple(values.get("settled_by", ())),
        )

    def __rich__(self) -> RenderableType:
        from neuralyzer.verification.view import verification_view

        return verification_view(self)


def verify(
    model: nn.Module | Predict,
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References | None,
    policy: Policy | None = None,
    *,
    protocol: Protocol | None = None,
    exact: bool = False,
    found: float = FOUND,
    looks: int | None = None,
    answerable: str | None = None,
    exact_references: Sequence[nn.Module] = (),
    registered: str | None = None,
) -> Verification:
    """Judge a model, also one that was unlearned elsewhere.

    Args:
        model: the model under test; or a function ``predict_proba(x (n, ...))`` that gives probabilities ``(n, C)``
            (predictions in regression), of which signals that need weights are then not measured.
        oracle: the original; its data is what the request refers to.
        request: what should be forgotten.
        references: the original's pool. Without one, only an exact basis gives a verdict.
        policy: error rate and largest trace.
        protocol: what was declared before unlearning; by default what an audit would declare.
        exact: whether a training record shows that no forget row was trained on: that then decides, unless the weights
            are known to be trained on the rows all the same.
        found: normal quantile of the power that detectable traces speak of, higher at a second look.
        looks: how often the evaluation split was opened, this time included; by default as the pool's store says.
        answerable: why the pool cannot answer the request; its verdict is then inconclusive. By default the screen
            on the tuning split says it.
        exact_references: models trained on exactly the retain set after ``model`` was final: they judge in the
            pool's place, which gives the gap alone, and can answer any request.
        registered: why it is known that ``model`` was trained on rows of the request, such as "they are registered
            as 'copy'"; it is then never ``forgotten``. The original's own weights are known without it.

    Returns:
        The verification.

    Raises:
        UsageError: if there are exact references and no pool to tell them the gap.
    """
    if exact_references and references is None:
        raise UsageError(NO_POOL)
    policy = policy or Policy()
    if not isinstance(model, nn.Module):
        model = BlackBox.of(model, oracle)
    positions = request.positions(oracle.data)
    protocol = protocol or audit(oracle, request, references, policy).protocol
    basis = "exact" if exact else "statistical"
    estimator: AnyEstimator | None = None
    if references is not None:
        parts, inside = references.parts(positions), not isinstance(model, BlackBox)
        if exact_references:
            estimator = ExactEstimator(references.evaluation, parts, exact_references, protocol.alpha, found, inside)
            answerable = None
        else:
            estimator = estimator_for(references.evaluation, parts, protocol.alpha, found, inside)
            answerable = answerable or screened(references, parts, protocol.alpha)
        if looks is None:
            looks = references.access_log.taken(oracle.lineage, references.names(estimator.parts))
    known = registered or _known(model, oracle)
    if estimator is None or not estimator.signals:
        clean = exact and known is None
        verdict = Verdict.FORGOTTEN if clean else Verdict.INCONCLUSIVE
        why = f"{TRAINED}: {known}" if exact and not clean else None
        said = sentence(verdict, clean, None, why)
        settled_by = () if exact else (RETRAIN,)
        return Verification(
            verdict, basis, None, protocol.alpha, None, (), None, looks or 0, said, settled_by=settled_by
        )
    counts = [signal for signal in estimator.signals if signal in protocol.counting]
    assert references is not None
    before = estimator.read(oracle.model, counts)
    after = estimator.read(model, counts)
    assert after.joint is not None
    controls = Controls(
        estimator.self_check(after.joint.signals, groups_of(references)),
        original_control(references, oracle, estimator.parts, protocol.alpha, "judging"),
        None if exact else retained_control(references, model, estimator.parts, protocol.alpha),
    )
    detectable = controls.corrected(after.detectable)
    # Where no family counts, what was declared of the tuning split decides; where one does, either split may find it.
    original_rejected = protocol.original_rejected or (bool(exact_references or counts) and before.rejects)
    verdict = decide(
        rejects=after.rejects,
        original_rejected=original_rejected,
        detectable=detectable,
        counts=counts,
        required=required(estimator),
        max_trace=protocol.max_trace,
        alarmed=controls.alarmed,
        missed=controls.missed,
    )
    why = controls.reason or (NOT_FOUND if counts and not original_rejected else None)
    unsound = why is not None  # what other models cannot mend
    why = f"{why}. {OTHERWISE}" if why is not None and verdict is Verdict.INCONCLUSIVE else None
    if answerable is not None:
        verdict, why = Verdict.INCONCLUSIVE, f"the pool cannot answer this request, since {answerable}. {OTHERWISE}"
    if exact:
        verdict, why = Verdict.FORGOTTEN, None
    settling: tuple[str, ...] = ()
    if verdict is Verdict.FORGOTTEN and known is not None:
        verdict, why, exact, settling = Verdict.INCONCLUSIVE, f"{TRAINED}: {known}", False, () if exact else (RETRAIN,)
    elif verdict is Verdict.INCONCLUSIVE:
        settling = (RETRAIN,) if exact_references or unsound else (JUDGES, RETRAIN)
    largest = max((detectable[signal] for signal in counts), default=None)
    limit = bound(detectable, counts, required(estimator))
    open_ = verdict is Verdict.INCONCLUSIVE and why is None
    settled = rows_needed(estimator, detectable, counts, protocol.max_trace) if open_ else ""
    families = tuple(_rows(estimator, before, after, counts, detectable))
    remains = remaining(families)
    return Verification(
        verdict,
        basis,
        after.joint.p_value,
        protocol.alpha,
        largest,
        families,
        controls.negative,
        looks or 0,
        sentence(verdict, exact, after.joint.p_value, why, len(exact_references), limit, remains) + settled,
        EXACT if exact_references else POOL,
        attacks(estimator, {"original": before, "unlearned": after}),
        estimator.not_measured,
        controls.positive,
        limit,
        controls.retained,
        remains,
        settling,
    )


def _known(model: nn.Module, oracle: TrainedModel) -> str | None:
    """Why weights are known to be trained on the rows: they are the original's; None where they are others."""
    if isinstance(model, BlackBox):
        return None
    return "they are the original's" if weights.digest(model) in {oracle.digest, oracle.lineage} else None


def screened(references: References, parts: Sequence[Part], alpha: float) -> str | None:
    """Why a pool cannot answer a request, as its tuning split tells; None where it can, or where nothing reads."""
    return estimator_for(references.tuning, parts, alpha).obstacle


def _rows(
    estimator: AnyEstimator, before: Estimates, after: Estimates, counts: Sequence[str], detectable: Mapping[str, float]
) -> list[dict[str, Any]]:
    rows = []
    for name, trace in after.traces.items():
        reach = trace.high - trace.trace
        rows.append(
            {
                "family": str(estimator.family(name)),
                "signal": name,
                "original": before.traces[name].trace,
                "unlearned": trace.trace,
                "low": trace.low,
                "high": trace.high,
                "p_value": trace.p_value,
                "detectable": detectable[name],
                "counts": name in counts,
                "null_low": -reach,
                "null_high": reach,
                "retrained": [],
            }
        )
    return rows
