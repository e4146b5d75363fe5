"""The audit of a claim: was the model trained on rows that no register holds? Measured on the tuning split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError, UsageError
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.signals.signal import Batch, Family
from neuralyzer.trace.claim import ClaimedReadings, claim_test, claim_trace
from neuralyzer.trace.estimator import null_tables
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.positive_control import PositiveControl
from neuralyzer.trace.residual import Trace
from neuralyzer.trace.self_check import SelfCheck, self_check
from neuralyzer.trace.verdict import Verdict, counting, decide
from neuralyzer.verification.audit import families_view, not_measured_view
from neuralyzer.verification.claimed_rows import left_out_notes, require_same_inputs, unregistered
from neuralyzer.verification.controls import Controls, controls_view, groups_of, original_control
from neuralyzer.verification.words import colour, shares
from neuralyzer.workspace.policy import Policy

FEWEST_MEMBERS = 12  # of a split, from which the variance of a claim's scores is estimated


@dataclass(frozen=True)
class Claim:
    """The result of a claim's audit: whether a model was trained on rows that a claimant brought.

    Attributes:
        verdict: ``not forgotten``: the model was trained on them; ``forgotten``: it behaves as one that never saw
            them, and a trace would have been found; ``untraceable``: even a model trained on them might look so;
            ``inconclusive``: otherwise.
        p_value: of the joint test, which is one-sided.
        detectable: the largest detectable trace among the counting families; None where none counts.
        rows: number of rows that were tested.
        registered: number of the claimant's rows that are in the training data; they were left out of the test.
        subjects: to whom these belong.
        holdout: number of rows that are in the holdout; left out too, since the never-seen shift is fitted on it.
        repeated: number of rows that repeat another of the claimant's; left out.
        families: one row per signal: family, signal, trace, low, high, p_value, detectable, counts.
        not_measured: signals that cannot be read on such rows.
        alpha: error rate of the joint test.
        max_trace: largest detectable trace with which a family may say ``forgotten``.
        references: digest of the references.
        sentence: the result in plain words.
        notes: further remarks, a sentence each.
        self_check: the negative control: false alarms of the test of subjects on rows that no model saw.
        positive_control: how often that test finds the model on subjects that it saw.
    """

    verdict: Verdict
    p_value: float
    detectable: float | None
    rows: int
    registered: int
    subjects: tuple[str, ...]
    holdout: int
    repeated: int
    families: tuple[dict[str, Any], ...]
    not_measured: tuple[str, ...]
    alpha: float
    max_trace: float
    references: str
    sentence: str
    notes: tuple[str, ...] = field(default=())
    self_check: SelfCheck | None = None
    positive_control: PositiveControl | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the claim's audit as plain values."""
        positive = None if self.positive_control is None else self.positive_control.to_dict()
        lists = {name: list(getattr(self, name)) for name in _TUPLES}
        return asdict(self) | lists | {"verdict": str(self.verdict), "positive_control": positive}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Claim":
        """Return the claim's audit that ``to_dict`` wrote down."""
        check = values.get("self_check")
        objects = {
            "verdict": Verdict(values["verdict"]),
            "self_check": None if check is None else SelfCheck(**check),
            "positive_control": PositiveControl.optional(values.get("positive_control")),
        }
        return cls(**values | {name: tuple(values[name]) for name in _TUPLES} | objects)

    def __rich__(self) -> RenderableType:
        lines = [Text(self.sentence, style=f"bold {colour(self.verdict)}"), families_view(self.families)]
        notes = [Text(note, style="dim") for note in self.notes]
        checks = controls_view(self.self_check, self.positive_control)
        return Group(*lines, *not_measured_view(self.not_measured), *notes, *checks)


_TUPLES = ("subjects", "families", "not_measured", "notes")


def audit_rows(oracle: TrainedModel, rows: Data, references: References | None, policy: Policy | None = None) -> Claim:
    """Test whether a model was trained on rows that no register holds.

    Args:
        oracle: the model, with the training rows that are known.
        rows: the claimant's rows, shaped as the training rows are; their ids and subjects are not used.
        references: the model's pool, made with ``keep_weights``, since its members read these rows now. Only the tuning
            split is used.
        policy: error rate and largest trace.

    Returns:
        The result.

    Raises:
        ReferencesError: if there are no references, or none that can read new rows.
    """
    policy = policy or Policy()
    if references is None:
        raise ReferencesError("a claim needs references with their weights kept; make them with keep_weights = true")
    _require_same_shape(oracle, rows, references)
    tested, left_out = unregistered(oracle, rows)
    split = references.tuning
    tables = _usable(split, policy.alpha)
    readings = _read(references, oracle, tested, list(tables))
    traces = {name: claim_trace(table, readings[name]) for name, table in tables.items()}
    positive = original_control(references, oracle, (), policy.alpha, "tuning")
    uncorrected = {name: trace.detectable for name, trace in traces.items()}
    detectable, counts = Controls(positive=positive).corrected(uncorrected), counting(uncorrected)
    joint = claim_test(tables, {name: trace.z for name, trace in traces.items()}, counts or list(tables), policy.alpha)
    signals = split.evaluator.signals
    negative = self_check(tables, joint.signals, groups_of(references), policy.alpha)
    controls = Controls(negative, positive)
    verdict = decide(
        rejects=joint.rejects, original_rejected=joint.rejects or bool(counts), detectable=detectable, counts=counts,
        required=[[name for name in tables if signals[name].family in (Family.RETRAINING, Family.ATTACK)]],
        max_trace=policy.max_trace, alarmed=controls.alarmed, missed=controls.missed,
    )  # fmt: skip
    why = controls.reason if verdict is Verdict.INCONCLUSIVE else None
    families = tuple(
        _family_row(str(signals[name].family), name, trace, name in counts) | {"detectable": detectable[name]}
        for name, trace in traces.items()
    )
    return Claim(
        verdict, joint.p_value, max((detectable[name] for name in counts), default=None), len(tested), **left_out,
        families=families, not_measured=tuple(name for name in signals if name not in tables), alpha=policy.alpha,
        max_trace=policy.max_trace, references=references.digest, notes=_notes(references, **left_out),
        sentence=_sentence(verdict, families, joint.p_value, why), self_check=negative, positive_control=positive,
    )  # fmt: skip


def _require_same_shape(oracle: TrainedModel, rows: Data, references: References) -> None:
    """Refuse rows that the model cannot read, by the shape and type of their features and targets."""
    trained, claimed = oracle.data.gather([0])[0], rows.gather([0])[0]
    if isinstance(trained, dict) or isinstance(claimed, dict):
        require_same_inputs(trained, claimed)
    elif trained.shape[1:] != claimed.shape[1:]:
        wanted, given = tuple(trained.shape[1:]), tuple(claimed.shape[1:])
        raise UsageError(f"the claimant's rows have features of shape {given}; the training rows have {wanted}")
    elif trained.dtype != claimed.dtype:
        raise UsageError(
            f"the claimant's rows have features of {claimed.dtype}; the training rows have {trained.dtype}"
        )
    if oracle.recipe.objective.counted:
        classes = int(references.head["outputs"])
        if rows.y.is_floating_point():
            raise UsageError("the claimant's rows have real targets; the model's are whole-number class labels")
        if int(rows.y.min()) < 0 or int(rows.y.max()) >= classes:
            label = int(rows.y.max()) if int(rows.y.max()) >= classes else int(rows.y.min())
            raise UsageError(f"the claimant's rows have class {label}; the model's classes are 0 to {classes - 1}")
    elif rows.y.numel() != len(rows) * oracle.data.gather([0])[1].numel():
        raise UsageError(
            f"the claimant's rows have targets of shape {tuple(rows.y.shape[1:])}; the training rows have "
            f"{tuple(oracle.data.y.shape[1:])}"
        )


def _usable(split: ReferenceSplit, alpha: float) -> dict[str, NullTable]:
    """Return the null tables of the signals that read rows one by one and by which members differ."""
    if split.values.members < FEWEST_MEMBERS:
        raise ReferencesError(
            f"a claim needs {FEWEST_MEMBERS} references in a split; this pool has {split.values.members}"
        )
    tables = null_tables(split.values, alpha)
    usable = {
        name: tables[name]
        for name, signal in split.evaluator.signals.items()
        if not signal.per_unit and tables[name].subjects and 1 / (1 + len(tables[name].pooled)) <= alpha
    }
    if not usable:
        raise ReferencesError("no signal of these references tells their members apart; make larger ones")
    return usable


def _read(
    references: References, oracle: TrainedModel, rows: Data, signals: Sequence[str]
) -> dict[str, ClaimedReadings]:
    """Read every tuning member and the model on the rows, by each signal."""
    evaluator, batch = references.tuning.evaluator, Batch(rows.x, rows.y)
    few = evaluator.holdout.take(slice(1))  # members read the holdout when the pool was made
    members = [
        evaluator.read_rows(references.member(number).eval(), batch, few) for number in range(0, references.size, 2)
    ]
    model = evaluator.read_rows(oracle.model, batch)
    return {name: ClaimedReadings(np.stack([values[name][0] for values in members]), *model[name]) for name in signals}


def _family_row(family: str, signal: str, trace: Trace, counts: bool) -> dict[str, Any]:
    return {
        "family": family, "signal": signal, "trace": trace.trace, "low": trace.low, "high": trace.high,
        "p_value": trace.p_value, "detectable": trace.detectable, "counts": counts,
    }  # fmt: skip


def _sentence(verdict: Verdict, families: Sequence[dict[str, Any]], p: float, why: str | None) -> str:
    share, clause = shares(families, "a trained row's trace")
    clause += f", p = {p:.3f}"
    if why is not None:
        return f"Inconclusive: {why}; {clause}."
    return {
        Verdict.NOT_FORGOTTEN: f"The model was trained on these rows: {share} is read, p = {p:.3f}.",
        Verdict.FORGOTTEN: f"No sign that the model was trained on these rows: {clause}.",
        Verdict.UNTRACEABLE: f"Nothing measurable: {clause}, and even a model trained on these rows might look so.",
        Verdict.INCONCLUSIVE: f"Inconclusive: {clause}; more rows or more references would settle it.",
    }[verdict]


def _notes(references: References, **left_out: Any) -> tuple[str, ...]:
    erased = int((references.pool_index.ids == "").sum())
    of_erased = (
        f"{erased} rows were erased from the register by closed cases; were these among them, references saw them and "
        "the trace is read too low."
    )
    return (*left_out_notes(**left_out), *([of_erased] if erased else []))
