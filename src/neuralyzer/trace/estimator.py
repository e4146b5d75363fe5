"""Estimators of the residual trace: they read any model for one request, on one split of the references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from torch import nn

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import ErasedNull, Floats, Indices, Part, SplitValues
from neuralyzer.references.storage.erased import ErasedNulls
from neuralyzer.signals.signal import Family, needs_weights
from neuralyzer.trace import screen
from neuralyzer.trace.joint import Joint, joint_test
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import POWER_QUANTILE, Trace, residual_trace, shifts, trace_alone
from neuralyzer.trace.self_check import SelfCheck, self_check

_null_table = lru_cache(maxsize=32)(NullTable)


def null_tables(split: SplitValues, alpha: float) -> dict[str, NullTable]:
    """Return the null table of each of a split's signals; cached for later requests."""
    return {signal: _null_table(split, signal, alpha) for signal in split.signals}


def signal_trace(
    split: ReferenceSplit, parts: Sequence[Part], alpha: float, signal: str, model: nn.Module
) -> float | None:
    """Return a model's residual trace by one signal, without its error; None where the signal cannot read the parts."""
    table = _null_table_for(split, parts, alpha, signal)
    if table is None:
        return None
    read = split.evaluator.read(model, parts, [signal])[signal]
    return trace_alone(table, parts, read.rows, read.holdout)


def expected_shifts(
    split: ReferenceSplit, parts: Sequence[Part], alpha: float, signal: str, model: nn.Module
) -> list[Floats] | None:
    """Return how far a model's values would be from the members' mean if it had never seen the rows.

    A model may be better, worse or noisier than a member; the shift is fitted on the holdout (see ``prediction``).

    Args:
        split: the references.
        parts: the rows, by subject.
        alpha: error rate of the joint test.
        signal: name of the signal.
        model: the model.

    Returns:
        The expected shift of each part's rows, ``(n,)`` each; None where the signal cannot read the parts.
    """
    table = _null_table_for(split, parts, alpha, signal)
    if table is None:
        return None
    read = split.evaluator.read(model, parts, [signal])[signal]
    contrasts = [table.contrast(part) for part in parts]
    fitted = shifts(table, parts, contrasts, read.holdout)
    return [
        shift.on(contrast.moments.never, contrast.moments.spread)
        for shift, contrast in zip(fitted, contrasts, strict=True)
    ]


def _null_table_for(split: ReferenceSplit, parts: Sequence[Part], alpha: float, signal: str) -> NullTable | None:
    """Return the signal's null table; None where the signal cannot read the parts."""
    if signal not in split.evaluator.signals or not split.evaluator.measures(split.evaluator.signals[signal], parts):
        return None
    table = _null_table(split.values, signal, alpha)
    return table if all(part.subject in table for part in parts) else None


def nulls_to_keep(references: References, positions: Indices, alpha: float) -> ErasedNulls:
    """Return what a pool keeps of the subjects that erasing the rows at ``positions`` removes; see ``ErasedNull``."""
    removed = references.pool_index.removed_subjects(references.oracle.data, positions)
    splits = {"tuning": references.tuning.values, "judging": references.evaluation.values}
    return {
        name: {
            signal: {
                subject: ErasedNull(null.scores.tolist(), null.seen_variance, null.gap.norm, null.gap.unit)
                for subject, null in table.nulls.items()
                if subject in removed
            }
            for signal, table in null_tables(split, alpha).items()
        }
        for name, split in splits.items()
    }


@dataclass(frozen=True)
class Estimates:
    """The residual traces of one model on a request, and the joint test over them.

    Attributes:
        traces: by signal; only the signals that can read the request.
        joint: the joint test, or None where no signal can read the request.
        readings: the signal values that they were computed from, by signal.
    """

    traces: Mapping[str, Trace]
    joint: Joint | None
    readings: Mapping[str, Reading] = field(default_factory=dict, compare=False)

    @property
    def detectable(self) -> dict[str, float]:
        """Return the detectable trace by signal."""
        return {signal: trace.detectable for signal, trace in self.traces.items()}

    @property
    def rejects(self) -> bool:
        """Return whether the joint test rejects that the model never saw the rows."""
        return self.joint is not None and self.joint.rejects


class RequestEstimator:
    """The common part of all estimators of one request.

    Attributes:
        split: the references; their evaluator reads models.
        parts: the request's rows by subject.
        signals: names of the signals that can read the request.
    """

    split: ReferenceSplit
    parts: list[Part]
    signals: list[str]

    @property
    def not_measured(self) -> tuple[str, ...]:
        """Return the names of the references' signals that cannot read this request or this model."""
        return tuple(name for name in self.split.evaluator.signals if name not in self.signals)

    def family(self, signal: str) -> Family:
        """Return the family of a signal."""
        return self.split.evaluator.signals[signal].family

    def joint_signals(self, counts: Sequence[str] | None) -> list[str]:
        """Return the signals that a joint test is taken over: those that count, or all where none does."""
        return [name for name in self.signals if name in counts] if counts else self.signals


def readable(split: ReferenceSplit, weights: bool) -> list[str]:
    """Return the names of the signals that can be read; without ``weights``, only those that need outputs alone."""
    signals = split.evaluator.signals.items()
    return [name for name, signal in signals if weights or not needs_weights(signal)]


class PoolEstimator(RequestEstimator):
    """An estimator against one split of a pool; the formulas are in ``TraceEstimator`` and ``GroupEstimator``.

    Args:
        split: the references.
        parts: the request's rows by subject.
        alpha: error rate of the joint test.
        power_quantile: standard normal quantile of the power that defines a detectable trace.
        weights: whether the models' weights can be read, not their outputs alone.
    """

    def __init__(
        self,
        split: ReferenceSplit,
        parts: Sequence[Part],
        alpha: float,
        power_quantile: float = POWER_QUANTILE,
        weights: bool = True,
    ) -> None:
        self.split, self.parts, self.alpha, self.power_quantile = split, list(parts), alpha, power_quantile
        self.tables = null_tables(split.values, alpha)
        self.signals = [
            name
            for name in readable(split, weights)
            if split.evaluator.measures(split.evaluator.signals[name], parts)
            and all(part.subject in self.tables[name] for part in parts)
            and self._can_reject(name)
        ]

    def _can_reject(self, signal: str) -> bool:
        """Return whether the signal's null has enough scores for a p-value of alpha or less."""
        return True

    def _trace(self, signal: str, reading: Reading) -> Trace:
        raise NotImplementedError

    def _joint(self, traces: Mapping[str, Trace], taken: list[str]) -> Joint:
        raise NotImplementedError

    @property
    def obstacle(self) -> str | None:
        """Return why these references cannot answer the request; None where they can, or where no signal reads it."""
        per_row = [name for name in self.signals if not self.split.evaluator.signals[name].per_unit]
        return screen.obstacle(self.split.values, per_row[0], self.parts) if per_row else None

    def self_check(self, signals: Sequence[str], groups: Sequence[Indices]) -> SelfCheck:
        """Count false alarms on groups of holdout rows, which no model saw."""
        return self_check(self.tables, signals, groups, self.alpha)

    def read(self, model: nn.Module, counts: Sequence[str] | None = None) -> Estimates:
        """Read a model and estimate its traces.

        Args:
            model: any module of the recipe's kind.
            counts: signals that the joint test is taken over; by default, or where empty, all that can read the
                request.

        Returns:
            Traces and joint test.
        """
        return self.estimate(self.split.evaluator.read(model, self.parts, self.signals), counts)

    def estimate(self, readings: Mapping[str, Reading], counts: Sequence[str] | None = None) -> Estimates:
        """Return the estimates for a model that was read already; ``readings`` by signal, as the evaluator's."""
        traces = {name: self._trace(name, readings[name]) for name in self.signals}
        return self.with_joint_test(Estimates(traces, None, readings), counts)

    def with_joint_test(self, estimates: Estimates, counts: Sequence[str] | None) -> Estimates:
        """Return the same traces with the joint test taken over the signals that count, or all where none does."""
        joint = self._joint(estimates.traces, self.joint_signals(counts)) if estimates.traces else None
        return replace(estimates, joint=joint)


class TraceEstimator(PoolEstimator):
    """An estimator for a request of a few subjects: each is scored alone and the scores are added."""

    def _can_reject(self, signal: str) -> bool:
        return 1 / (1 + len(self.tables[signal].pooled)) <= self.alpha

    @cached_property
    def sensitivity(self) -> dict[str, float]:
        """Return each signal's sensitivity to this request, by which the joint test weighs it."""
        return {
            name: self.tables[name].sensitivity_of(self.tables[name].parts_null(self.parts)) for name in self.signals
        }

    def _trace(self, signal: str, reading: Reading) -> Trace:
        return residual_trace(self.tables[signal], self.parts, reading.rows, reading.holdout, self.power_quantile)

    def _joint(self, traces: Mapping[str, Trace], taken: list[str]) -> Joint:
        z = {name: trace.z for name, trace in traces.items()}
        return joint_test(self.tables, z, taken, self.alpha, self.sensitivity)


def family_rows(estimator: RequestEstimator, estimates: Estimates, counts: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per signal: family, trace, interval, p-value, detectable trace, whether it counts."""
    return [
        {
            "family": str(estimator.family(name)), "signal": name, "trace": trace.trace, "low": trace.low,
            "high": trace.high, "p_value": trace.p_value, "detectable": trace.detectable, "counts": name in counts,
        }
        for name, trace in estimates.traces.items()
    ]  # fmt: skip
