"""The audit of a claim: was the model trained on rows that no register holds? It is read on the tuning split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import ForgetSetError, ReferencesError, UsageError
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
from neuralyzer.verification.controls import Controls, controls_view, groups_of, original_control
from neuralyzer.verification.words import colour, shares
from neuralyzer.workspace import digests
from neuralyzer.workspace.policy import Policy

MEMBERS_FEW = 12  # below that a claim's own variance is too poor


@dataclass(frozen=True)
class Claim:
    """Whether a model was trained on rows that a claimant brought.

    Attributes:
        verdict: ``not forgotten``: the model was trained on them; ``forgotten``: it behaves as one that never saw
            them, and would have been found out; ``untraceable``: even a model trained on them might look so;
            ``inconclusive``: otherwise.
        p_value: of the joint test, in which only an excess alarms.
        detectable: the largest detectable trace among the counting families; None where none counts.
        rows: how many rows were tested.
        registered: how many of the claimant's rows stand in the training data; they were left out of the test.
        subjects: whose rows those are.
        holdout: how many stand in the holdout; left out too, since what models never saw is measured on it.
        repeated: how many repeat another of the claimant's rows; left out.
        families: a line a signal: family, signal, trace, low, high, p_value, detectable, counts.
        not_measured: signals that cannot be read on such rows.
        alpha: error rate of the joint test.
        max_trace: largest detectable trace with which a family may say ``forgotten``.
        references: digest of the references.
        sentence: the result in plain words.
        notes: what else the person should know, a sentence each.
        self_check: false alarms of the test of subjects on rows that nobody saw: the negative control.
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
        """The claim's audit as plain values."""
        positive = None if self.positive_control is None else self.positive_control.to_dict()
        lists = {name: list(getattr(self, name)) for name in _TUPLES}
        return asdict(self) | lists | {"verdict": str(self.verdict), "positive_control": positive}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Claim":
        """The claim's audit that ``to_dict`` wrote down."""
        check = values.get("self_check")
        made = {
            "verdict": Verdict(values["verdict"]),
            "self_check": None if check is None else SelfCheck(**check),
            "positive_control": PositiveControl.optional(values.get("positive_control")),
        }
        return cls(**values | {name: tuple(values[name]) for name in _TUPLES} | made)

    def __rich__(self) -> RenderableType:
        lines = [Text(self.sentence, style=f"bold {colour(self.verdict)}"), families_view(self.families)]
        notes = [Text(note, style="dim") for note in self.notes]
        checks = controls_view(self.self_check, self.positive_control)
        return Group(*lines, *not_measured_view(self.not_measured), *notes, *checks)


_TUPLES = ("subjects", "families", "not_measured", "notes")


def audit_rows(oracle: TrainedModel, rows: Data, references: References | None, policy: Policy | None = None) -> Claim:
    """Was a model trained on rows that no register holds?

    Args:
        oracle: the model, with the training rows that are known.
        rows: the claimant's rows, shaped as the training rows are; their ids and subjects are not used.
        references: the model's pool, made with ``keep_weights``: its members read these rows now. Only the tuning
            split is asked.
        policy: error rate and largest trace.

    Returns:
        The answer.

    Raises:
        ReferencesError: if there are no references, or none that can read new rows.
    """
    policy = policy or Policy()
    if references is None:
        raise ReferencesError("a claim needs references with their weights kept; make them with keep_weights = true")
    _fitting(oracle, rows, references)
    tested, counts_left = _unknown(oracle, rows)
    split = references.tuning
    own = _usable(split, policy.alpha)
    read = _read(references, oracle, tested, list(own))
    traces = {name: claim_trace(table, read[name]) for name, table in own.items()}
    positive = original_control(references, oracle, (), policy.alpha, "tuning")
    plain = {name: trace.detectable for name, trace in traces.items()}
    detectable, counts = Controls(positive=positive).corrected(plain), counting(plain)
    joint = claim_test(own, {name: trace.z for name, trace in traces.items()}, counts or list(own), policy.alpha)
    signals = split.evaluator.signals
    negative = self_check(own, joint.signals, groups_of(references), policy.alpha)
    controls = Controls(negative, positive)
    verdict = decide(
        rejects=joint.rejects, original_rejected=joint.rejects or bool(counts), detectable=detectable, counts=counts,
        required=[[name for name in own if signals[name].family in (Family.RETRAINING, Family.ATTACK)]],
        max_trace=policy.max_trace, alarmed=controls.alarmed, missed=controls.missed,
    )  # fmt: skip
    why = controls.reason if verdict is Verdict.INCONCLUSIVE else None
    families = tuple(
        _line(str(signals[name].family), name, trace, name in counts) | {"detectable": detectable[name]}
        for name, trace in traces.items()
    )
    return Claim(
        verdict, joint.p_value, max((detectable[name] for name in counts), default=None), len(tested), **counts_left,
        families=families, not_measured=tuple(name for name in signals if name not in own), alpha=policy.alpha,
        max_trace=policy.max_trace, references=references.digest, notes=_notes(references, **counts_left),
        sentence=_sentence(verdict, families, joint.p_value, why), self_check=negative, positive_control=positive,
    )  # fmt: skip


def _fitting(oracle: TrainedModel, rows: Data, references: References) -> None:
    """Refuse rows that the model could not read."""
    own, first = oracle.data.gather([0])[0], rows.gather([0])[0]
    if isinstance(own, dict) or isinstance(first, dict):
        _same_names(own, first)
    elif own.shape[1:] != first.shape[1:]:
        wanted, given = tuple(own.shape[1:]), tuple(first.shape[1:])
        raise UsageError(f"the claimant's rows have features of shape {given}; the training rows have {wanted}")
    elif own.dtype != first.dtype:
        raise UsageError(f"the claimant's rows have features of {first.dtype}; the training rows have {own.dtype}")
    if oracle.recipe.objective.counted:
        classes = int(references.head["outputs"])
        if rows.y.is_floating_point():
            raise UsageError("the claimant's rows have real targets; the model's are whole-number class labels")
        if int(rows.y.min()) < 0 or int(rows.y.max()) >= classes:
            odd = int(rows.y.max()) if int(rows.y.max()) >= classes else int(rows.y.min())
            raise UsageError(f"the claimant's rows have class {odd}; the model's classes are 0 to {classes - 1}")
    elif rows.y.numel() != len(rows) * int(references.head["outputs"]):
        raise UsageError(
            f"the claimant's rows have targets of shape {tuple(rows.y.shape[1:])}; the training rows have "
            f"{tuple(oracle.data.y.shape[1:])}"
        )


def _same_names(own: Inputs, first: Inputs) -> None:
    """Refuse a claimant's inputs that are called otherwise than the training rows'."""
    names, given = (sorted(x) if isinstance(x, dict) else ["one tensor"] for x in (own, first))
    if names != given:
        raise UsageError(f"the claimant's rows have {', '.join(given)}; the training rows have {', '.join(names)}")


def _unknown(oracle: TrainedModel, rows: Data) -> tuple[Data, dict[str, Any]]:
    """The rows that no register holds, and how many others there were."""
    contents = rows.value_digests
    registered = digests.known(contents, oracle.data.value_digests)
    subjects = np.unique(oracle.data.subjects[digests.known(oracle.data.value_digests, contents)])
    holdout = digests.known(contents, oracle.require_holdout().value_digests) & ~registered
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(contents, return_index=True)[1]] = True
    left = first & ~registered & ~holdout
    if not left.any():
        whose = f"{registered.sum()} stand in the training data ({_named(subjects.tolist())}; use --subject)"
        where = whose if registered.any() else "all stand in the holdout"
        raise ForgetSetError(f"none of the claimant's {len(rows)} rows is unknown: {where}")
    left_out = {
        "registered": int(registered.sum()), "subjects": tuple(str(name) for name in subjects),
        "holdout": int(holdout.sum()), "repeated": int((~first & ~registered & ~holdout).sum()),
    }  # fmt: skip
    return rows.select(left), left_out


def _usable(split: ReferenceSplit, alpha: float) -> dict[str, NullTable]:
    """Tables of the signals that read rows one by one and tell members apart."""
    if split.values.members < MEMBERS_FEW:
        raise ReferencesError(
            f"a claim needs {MEMBERS_FEW} references in a split; this pool has {split.values.members}"
        )
    made = null_tables(split.values, alpha)
    found = {
        name: made[name]
        for name, signal in split.evaluator.signals.items()
        if not signal.per_unit and made[name].subjects and 1 / (1 + len(made[name].pooled)) <= alpha
    }
    if not found:
        raise ReferencesError("no signal of these references tells their members apart; make larger ones")
    return found


def _read(
    references: References, oracle: TrainedModel, rows: Data, signals: Sequence[str]
) -> dict[str, ClaimedReadings]:
    """Every tuning member and the model on the rows."""
    evaluator, batch = references.tuning.evaluator, Batch(rows.x, rows.y)
    few = evaluator.holdout.take(slice(1))  # members read the holdout when the pool was made
    members = [
        evaluator.read_rows(references.member(number).eval(), batch, few) for number in range(0, references.size, 2)
    ]
    model = evaluator.read_rows(oracle.model, batch)
    return {name: ClaimedReadings(np.stack([read[name][0] for read in members]), *model[name]) for name in signals}


def _line(family: str, signal: str, trace: Trace, counts: bool) -> dict[str, Any]:
    return {
        "family": family, "signal": signal, "trace": trace.trace, "low": trace.low, "high": trace.high,
        "p_value": trace.p_value, "detectable": trace.detectable, "counts": counts,
    }  # fmt: skip


def _sentence(verdict: Verdict, families: Sequence[dict[str, Any]], p: float, why: str | None) -> str:
    share, read = shares(families, "a trained row's trace")
    read += f", p = {p:.3f}"
    if why is not None:
        return f"Inconclusive: {why}; {read}."
    return {
        Verdict.NOT_FORGOTTEN: f"The model was trained on these rows: {share} is read, p = {p:.3f}.",
        Verdict.FORGOTTEN: f"No sign that the model was trained on these rows: {read}.",
        Verdict.UNTRACEABLE: f"Nothing measurable: {read}, and even a model trained on these rows might look so.",
        Verdict.INCONCLUSIVE: f"Inconclusive: {read}; more rows or more references would settle it.",
    }[verdict]


def _notes(
    references: References, registered: int, subjects: Sequence[str], holdout: int, repeated: int
) -> tuple[str, ...]:
    erased = int((references.pool_index.ids == "").sum())
    told = {
        f"{registered} of these rows are in the training data, {_named(subjects)}: use --subject.": registered,
        f"{holdout} of these rows are in the holdout; they were left out.": holdout,
        f"{repeated} of these rows repeat another; they were left out.": repeated,
        f"{erased} rows were erased from the register by closed cases; were these among them, references saw them and "
        "the trace is read too low.": erased,
    }  # fmt: skip
    return tuple(note for note, count in told.items() if count)


def _named(subjects: Sequence[str]) -> str:
    shown = ", ".join(subjects[:3]) + (f" and {len(subjects) - 3} more" if len(subjects) > 3 else "")
    return f"subject{'s' if len(subjects) > 1 else ''} {shown}"
