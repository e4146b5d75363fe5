"""The verification of a model: does it still hold the requested rows? Measured on the evaluation split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from neuralyzer.trace.residual import POWER_QUANTILE
from neuralyzer.trace.verdict import Verdict, bound, decide
from neuralyzer.verification.attacks import attacks
from neuralyzer.verification.audit import audit, required
from neuralyzer.verification.controls import Controls, groups_of, original_control, retained_control
from neuralyzer.verification.protocol import Protocol
from neuralyzer.verification.settling import JUDGES, RETRAIN, AnyEstimator, rows_needed
from neuralyzer.verification.verification import EXACT, POOL, Verification
from neuralyzer.verification.words import NOT_FOUND, OTHERWISE, TRAINED, remaining, sentence
from neuralyzer.workspace.policy import Policy


def verify(
    model: nn.Module | Predict,
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References | None,
    policy: Policy | None = None,
    *,
    protocol: Protocol | None = None,
    exact: bool = False,
    found: float = POWER_QUANTILE,
    looks: int | None = None,
    answerable: str | None = None,
    exact_references: Sequence[nn.Module] = (),
    registered: str | None = None,
) -> Verification:
    """Test whether a model still holds a request's rows; it may have been unlearned elsewhere.

    Args:
        model: the model under test; or a function ``predict_proba(x (n, ...))`` that returns probabilities ``(n, C)``
            (predictions in regression); signals that need weights are then not measured.
        oracle: the original; the request refers to its data.
        request: names the rows that should be forgotten.
        references: the original's pool. Without one, only an exact basis gives a verdict.
        policy: error rate and largest trace.
        protocol: declared before unlearning; by default that of an audit made now.
        exact: whether a training record shows that no forget row was trained on. It then decides, unless the weights
            are known to be trained on the rows all the same.
        found: standard normal quantile of the power that defines detectable traces; higher at a second access.
        looks: how often the evaluation split was opened, this time included; by default the access log's count.
        answerable: why the pool cannot answer the request, whose verdict is then inconclusive. By default the screen
            on the tuning split decides.
        exact_references: models trained on exactly the retain set after ``model`` was final. They replace the pool,
            which gives the gap alone, and can answer any request.
        registered: why it is known that ``model`` was trained on rows of the request, such as "they are registered
            as 'copy'"; it is then never ``forgotten``. The original's own weights are recognised without it.

    Returns:
        The verification.

    Raises:
        UsageError: if there are exact references and no pool to give the gap.
    """
    if exact_references and references is None:
        raise UsageError(NO_POOL)
    policy = policy or Policy()
    model = model if isinstance(model, nn.Module) else BlackBox.of(model, oracle)
    protocol = protocol or audit(oracle, request, references, policy).protocol
    estimator: AnyEstimator | None = None
    if references is not None:
        split, white_box = references.evaluation, not isinstance(model, BlackBox)
        parts = references.parts(request.positions(oracle.data))
        if exact_references:
            estimator = ExactEstimator(split, parts, exact_references, protocol.alpha, found, white_box)
            answerable = None
        else:
            estimator = estimator_for(split, parts, protocol.alpha, found, white_box)
            answerable = answerable or _pool_obstacle(references, parts, protocol.alpha)
        if looks is None:
            looks = references.access_log.count(oracle.lineage, references.names(estimator.parts))
    known = registered or _known(model, oracle)
    if references is None or estimator is None or not estimator.signals:
        return _not_read(exact, known, protocol.alpha, looks or 0)
    counts = [signal for signal in estimator.signals if signal in protocol.counting]
    before, after = estimator.read(oracle.model, counts), estimator.read(model, counts)
    assert after.joint is not None
    controls = Controls(
        estimator.self_check(after.joint.signals, groups_of(references)),
        original_control(references, oracle, estimator.parts, protocol.alpha, "judging"),
        None if exact else retained_control(references, model, estimator.parts, protocol.alpha),
    )
    detectable = controls.corrected(after.detectable)
    # The original's rows must be found on the tuning split or, if a family counts, on either split.
    original_rejected = protocol.original_rejected or (bool(exact_references or counts) and before.rejects)
    verdict = decide(
        rejects=after.rejects, original_rejected=original_rejected, detectable=detectable, counts=counts,
        required=required(estimator), max_trace=protocol.max_trace, alarmed=controls.alarmed, missed=controls.missed,
    )  # fmt: skip
    unsound = controls.reason or (NOT_FOUND if counts and not original_rejected else None)
    outcome = _outcome(verdict, exact, unsound, answerable, known, bool(exact_references))
    undecided = outcome.verdict is Verdict.INCONCLUSIVE and outcome.why is None
    settled = rows_needed(estimator, detectable, counts, protocol.max_trace) if undecided else ""
    families = tuple(_rows(estimator, before, after, counts, detectable))
    limit, remains, p_value = bound(detectable, counts, required(estimator)), remaining(families), after.joint.p_value
    return Verification(
        outcome.verdict,
        "exact" if exact else "statistical",
        p_value,
        protocol.alpha,
        max((detectable[signal] for signal in counts), default=None),
        families,
        controls.negative,
        looks or 0,
        sentence(outcome.verdict, outcome.exact, p_value, outcome.why, len(exact_references), limit, remains) + settled,
        EXACT if exact_references else POOL,
        attacks(estimator, {"original": before, "unlearned": after}),
        estimator.not_measured,
        controls.positive,
        limit,
        controls.retained,
        remains,
        outcome.settled_by,
    )


@dataclass(frozen=True)
class _Outcome:
    """A verdict with its reason and the options that would settle it."""

    verdict: Verdict
    why: str | None
    exact: bool
    settled_by: tuple[str, ...] = ()


def _outcome(
    verdict: Verdict, exact: bool, unsound: str | None, answerable: str | None, known: str | None, judges: bool
) -> _Outcome:
    """Return the verdict after all that may overrule the test.

    Args:
        verdict: of the test and the controls.
        exact: whether a training record decides.
        unsound: why the test itself proves nothing, which no other references would change.
        answerable: why the pool cannot answer the request.
        known: why the weights are known to be trained on the rows.
        judges: whether exact references judged.

    Returns:
        The verdict with its reason.
    """
    inconclusive = Verdict.INCONCLUSIVE
    why = f"{unsound}. {OTHERWISE}" if unsound is not None and verdict is inconclusive else None
    if answerable is not None:
        verdict, why = inconclusive, f"the pool cannot answer this request, since {answerable}. {OTHERWISE}"
    if exact:
        verdict, why = Verdict.FORGOTTEN, None
    if verdict is Verdict.FORGOTTEN and known is not None:
        return _Outcome(inconclusive, f"{TRAINED}: {known}", False, () if exact else (RETRAIN,))
    if verdict is not inconclusive:
        return _Outcome(verdict, why, exact)
    return _Outcome(verdict, why, exact, (RETRAIN,) if judges or unsound is not None else (JUDGES, RETRAIN))


def _not_read(exact: bool, known: str | None, alpha: float, looks: int) -> Verification:
    """Return the verification where no signal can be read: the training record decides, or nothing does."""
    clean = exact and known is None
    verdict = Verdict.FORGOTTEN if clean else Verdict.INCONCLUSIVE
    text = sentence(verdict, clean, None, f"{TRAINED}: {known}" if exact and not clean else None)
    return Verification(
        verdict, "exact" if exact else "statistical", None, alpha, None, (), None, looks, text,
        settled_by=() if exact else (RETRAIN,),
    )  # fmt: skip


def _known(model: nn.Module, oracle: TrainedModel) -> str | None:
    """Return why weights are known to be trained on the rows: they are the original's; None where they are not."""
    if isinstance(model, BlackBox):
        return None
    return "they are the original's" if weights.digest(model) in {oracle.digest, oracle.lineage} else None


def _pool_obstacle(references: References, parts: Sequence[Part], alpha: float) -> str | None:
    """Return why a pool cannot answer a request, by its tuning split; None where it can, or where no signal reads."""
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
