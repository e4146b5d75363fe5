"""The audit: how much of the requested rows the original remembers, measured on the tuning split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from neuralyzer.data.request import ErasureRequest
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.signals.signal import Family
from neuralyzer.trace.estimator import RequestEstimator, family_rows
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.trace.positive_control import PositiveControl
from neuralyzer.trace.self_check import SelfCheck
from neuralyzer.trace.verdict import Verdict, counting, decide
from neuralyzer.verification.attacks import Attacks, attacks
from neuralyzer.verification.controls import Controls, controls_view, groups_of, original_control
from neuralyzer.verification.protocol import Protocol
from neuralyzer.verification.words import UNSEEN, colour, narrow_enough, percent, shares
from neuralyzer.workspace.policy import Policy


@dataclass(frozen=True)
class Audit:
    """The result of an audit: how much of a request's rows a model remembers.

    Attributes:
        verdict: one of the four words except ``forgotten``, since the model was trained on the rows.
        p_value: of the joint test; None where nothing could be read.
        detectable: the largest detectable trace among the counting families; None where none counts.
        rows: number of rows of the request.
        families: one row per signal: family, signal, trace, low, high, p_value, detectable, counts.
        protocol: by which a verification of the same request will be judged.
        sentence: the result in plain words.
        attacks: LiRA and RMIA on the model; None where they cannot be computed.
        not_measured: the references' signals that cannot read these rows.
        self_check: the negative control: false alarms of the same test on rows that no model saw.
        positive_control: how often the same test finds the model on subjects that it saw.
    """

    verdict: Verdict
    p_value: float | None
    detectable: float | None
    rows: int
    families: tuple[dict[str, Any], ...]
    protocol: Protocol
    sentence: str
    attacks: Attacks | None = None
    not_measured: tuple[str, ...] = ()
    self_check: SelfCheck | None = None
    positive_control: PositiveControl | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain values."""
        return {
            "verdict": str(self.verdict), "p_value": self.p_value, "detectable": self.detectable, "rows": self.rows,
            "families": list(self.families), "protocol": self.protocol.to_dict(), "sentence": self.sentence,
            "attacks": None if self.attacks is None else self.attacks.to_dict(),
            "not_measured": list(self.not_measured),
            "self_check": None if self.self_check is None else asdict(self.self_check),
            "positive_control": None if self.positive_control is None else self.positive_control.to_dict(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Audit":
        """Return the audit that ``to_dict`` wrote down."""
        return cls(
            Verdict(values["verdict"]), values["p_value"], values["detectable"], values["rows"],
            tuple(values["families"]), Protocol.from_dict(values["protocol"]), values["sentence"],
            None if values.get("attacks") is None else Attacks.from_dict(values["attacks"]),
            tuple(values.get("not_measured", ())),
            None if values.get("self_check") is None else SelfCheck(**values["self_check"]),
            PositiveControl.optional(values.get("positive_control")),
        )  # fmt: skip

    def __rich__(self) -> RenderableType:
        return audit_view(self)


def audit(
    oracle: TrainedModel, request: ErasureRequest, references: References | None, policy: Policy | None = None
) -> Audit:
    """Audit a model.

    Args:
        oracle: the model.
        request: names the rows.
        references: the model's pool; only the tuning split is read. Without one the audit is inconclusive.
        policy: error rate and largest trace.

    Returns:
        The audit.
    """
    policy = policy or Policy()
    positions = request.positions(oracle.data)
    if references is None:
        return _not_read(len(positions), policy, None, "Without references nobody can say what the model remembers.")
    estimator = estimator_for(references.tuning, references.parts(positions), policy.alpha)
    if not estimator.signals:
        return _not_read(len(positions), policy, references.digest, "No signal of these references reads these rows.")
    positive = original_control(references, oracle, estimator.parts, policy.alpha, "tuning")
    estimates = estimator.read(oracle.model)
    detectable = Controls(positive=positive).corrected(estimates.detectable)
    counts = counting(estimates.detectable)
    if counts:
        estimates = estimator.with_joint_test(estimates, counts)
    assert estimates.joint is not None
    negative = estimator.self_check(estimates.joint.signals, groups_of(references))
    controls = Controls(negative, positive)
    verdict = decide(
        rejects=estimates.rejects,
        original_rejected=estimates.rejects,
        detectable=detectable,
        counts=counts,
        required=required(estimator),
        max_trace=policy.max_trace,
        alarmed=controls.alarmed,
        missed=controls.missed,
    )
    families = tuple(
        row | {"detectable": detectable[row["signal"]]} for row in family_rows(estimator, estimates, counts)
    )
    protocol = Protocol(
        tuple(estimator.signals), counts, policy.alpha, policy.max_trace, references.digest, estimates.rejects
    )
    largest = max((detectable[signal] for signal in counts), default=None)
    p = estimates.joint.p_value
    why = _reason(controls, counts, estimates.rejects) if verdict is Verdict.INCONCLUSIVE else None
    return Audit(
        verdict, p, largest, len(positions), families, protocol, _sentence(verdict, families, p, why=why),
        attacks(estimator, {"original": estimates}), estimator.not_measured, negative, positive,
    )  # fmt: skip


def _reason(controls: Controls, counts: Sequence[str], rejects: bool) -> str | None:
    """Return why an audit is inconclusive, if for another reason than wide intervals."""
    return controls.reason or (UNSEEN if counts and not rejects else None)


def required(estimator: RequestEstimator) -> list[list[str]]:
    """Return the groups of signals of which one each must count: retraining or attack, and relearning if measured."""
    groups = [[s for s in estimator.signals if estimator.family(s) in (Family.RETRAINING, Family.ATTACK)]]
    relearning = [s for s in estimator.signals if estimator.family(s) is Family.RELEARNING]
    return [*groups, relearning] if relearning else groups


def _not_read(rows: int, policy: Policy, references: str | None, sentence: str) -> Audit:
    protocol = Protocol((), (), policy.alpha, policy.max_trace, references, False)
    return Audit(Verdict.INCONCLUSIVE, None, None, rows, (), protocol, sentence)


def _sentence(
    verdict: Verdict,
    families: tuple[dict[str, Any], ...],
    p: float,
    model: str = "The model",
    whose: str = "the rows'",
    why: str | None = None,
) -> str:
    share, clause = shares(families, f"{whose} trace")
    clause += f", p = {p:.3f}"
    if why is not None:
        return f"Inconclusive: {why}; {clause}."
    if verdict is Verdict.NOT_FORGOTTEN:
        return f"{model} holds {share}, p = {p:.3f}."
    if verdict is Verdict.UNTRACEABLE:
        return f"Nothing measurable: {clause}."
    return f"Inconclusive: {clause}; more rows or more references would settle it."


def audit_view(audit: Audit, model: str = "The model", whose: str = "the rows'") -> RenderableType:
    """Return the audit's sentence, its table of families, and the controls.

    Args:
        audit: what to show.
        model: name of the model in the sentence.
        whose: owner of the trace in the sentence, in the genitive.

    Returns:
        What Rich prints.
    """
    sentence = audit.sentence
    if audit.families and audit.p_value is not None:
        controls = Controls(audit.self_check, audit.positive_control)
        why = _reason(controls, audit.protocol.counting, False) if audit.verdict is Verdict.INCONCLUSIVE else None
        sentence = _sentence(audit.verdict, audit.families, audit.p_value, model, whose, why)
    lines = [Text(sentence, style=f"bold {colour(audit.verdict)}"), families_view(audit.families)]
    known = [] if audit.attacks is None else [audit.attacks]
    checks = controls_view(audit.self_check, audit.positive_control)
    return Group(*lines, *not_measured_view(audit.not_measured), *known, *checks)


def not_measured_view(names: Sequence[str]) -> list[RenderableType]:
    """Return a line with the signals that were not measured; none where all were."""
    return [Text(f"not measured: {', '.join(names)}", style="dim")] if names else []


def trace_cells(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return a family's trace and its interval; a dash where the interval is too wide for a number."""
    if not narrow_enough(row["low"], row["high"]):
        return "-", "too wide"
    return percent(row[name]), f"{percent(row['low'])} to {percent(row['high'])}"


def families_view(families: Sequence[dict[str, Any]]) -> RenderableType:
    """Return a table with one row per signal."""
    table = RichTable(box=None, pad_edge=False)
    for name in ("family", "signal", "trace", "interval", "p", "detectable", "counts"):
        table.add_column(name, justify="left" if name in ("family", "signal") else "right")
    for row in families:
        table.add_row(
            row["family"],
            row["signal"],
            *trace_cells(row, "trace"),
            f"{row['p_value']:.3f}",
            percent(row["detectable"]),
            "yes" if row["counts"] else "no",
        )
    return table
