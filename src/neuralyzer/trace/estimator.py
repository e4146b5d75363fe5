"""Reads the residual trace of any model for one request, on one half of the references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from torch import nn

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import Floats, Indices, Part, Remembered, SplitValues
from neuralyzer.references.storage.erased import Memory
from neuralyzer.signals.signal import Family
from neuralyzer.trace import screen
from neuralyzer.trace.joint import Joint, joint_test
from neuralyzer.trace.null_table import Table
from neuralyzer.trace.residual import FOUND, Trace, estimated, residual_trace, shifts
from neuralyzer.trace.self_check import SelfCheck, self_check

_table = lru_cache(maxsize=32)(Table)


def tables(split: SplitValues, alpha: float) -> dict[str, Table]:
    """The null distributions of a split's signals; made once and kept for the request after this one."""
    return {signal: _table(split, signal, alpha) for signal in split.signals}


def alone(split: ReferenceSplit, parts: Sequence[Part], alpha: float, signal: str, model: nn.Module) -> float | None:
    """A model's trace by one signal, and no more of it; None where it cannot read the parts."""
    table = _reading_table(split, parts, alpha, signal)
    if table is None:
        return None
    read = split.evaluator.read(model, parts, [signal])[signal]
    return estimated(table, parts, read.rows, read.holdout)


def lead(
    split: ReferenceSplit, parts: Sequence[Part], alpha: float, signal: str, model: nn.Module
) -> list[Floats] | None:
    """How far from the mean of its members a split expects a model on rows that it never saw either.

    Args:
        split: the references that read.
        parts: the rows, by subject.
        alpha: as of an estimator.
        signal: by name.
        model: that may be better, worse or noisier than a member.

    Returns:
        By part and row, ``(n,)`` each; None where the signal cannot read the parts.
    """
    table = _reading_table(split, parts, alpha, signal)
    if table is None:
        return None
    read = split.evaluator.read(model, parts, [signal])[signal]
    contrasts = [table.contrast(part) for part in parts]
    found = shifts(table, parts, contrasts, read.holdout)
    return [shift.on(own.moments.never, own.moments.spread) for shift, own in zip(found, contrasts, strict=True)]


def _reading_table(split: ReferenceSplit, parts: Sequence[Part], alpha: float, signal: str) -> Table | None:
    if signal not in split.evaluator.signals or not split.evaluator.measures(split.evaluator.signals[signal], parts):
        return None
    table = _table(split.values, signal, alpha)
    return table if all(part.subject in table for part in parts) else None


def memory(references: References, positions: Indices, alpha: float) -> Memory:
    """What a pool shall keep of the subjects that go when the rows at ``positions`` are erased; see ``Remembered``."""
    gone, found = references.pool_index.gone(references.oracle.data, positions), {}
    for name, split in (("tuning", references.tuning.values), ("judging", references.evaluation.values)):
        found[name] = {
            signal: {
                subject: Remembered(null.scores.tolist(), null.seen_variance, null.gap.norm, null.gap.unit)
                for subject, null in table.nulls.items()
                if subject in gone
            }
            for signal, table in tables(split, alpha).items()
        }
    return found


@dataclass(frozen=True)
class Estimates:
    """What a split says of a model on a request.

    Attributes:
        traces: by signal; those that the request has.
        joint: the joint test, or None where the request has no signal at all.
        readings: what they were computed from, by signal.
    """

    traces: Mapping[str, Trace]
    joint: Joint | None
    readings: Mapping[str, Reading] = field(default_factory=dict, compare=False)

    @property
    def detectable(self) -> dict[str, float]:
        """Detectable trace by signal."""
        return {signal: trace.detectable for signal, trace in self.traces.items()}

    @property
    def rejects(self) -> bool:
        """Whether the joint test rejects that the model never saw the rows."""
        return self.joint is not None and self.joint.rejects


class Signals:
    """What every estimator of a request knows: ``split``, whose evaluator reads, the request's ``parts``, and ``signals``, by name."""

    split: ReferenceSplit
    parts: list[Part]
    signals: list[str]

    @property
    def not_measured(self) -> tuple[str, ...]:
        """The references' signals that the request, or the model, does not have."""
        return tuple(name for name in self.split.evaluator.signals if name not in self.signals)

    def family(self, signal: str) -> Family:
        """The family of a signal."""
        return self.split.evaluator.signals[signal].family

    def taken(self, counts: Sequence[str] | None) -> list[str]:
        """The signals that a joint test is taken over: those that count, or all where none does."""
        return [name for name in self.signals if name in counts] if counts else self.signals


def readable(split: ReferenceSplit, weights: bool) -> list[str]:
    """The signals that a split's evaluator can read; without ``weights``, those that answers alone will do for."""
    own = split.evaluator.signals.items()
    return [name for name, signal in own if weights or not getattr(signal, "needs_weights", True)]


class PoolEstimator(Signals):
    """Reads models for one request against a pool; how is what ``TraceEstimator`` and ``GroupEstimator`` say.

    Args:
        split: the references that read.
        parts: what the request asks for, by subject.
        alpha: error rate of the joint test.
        found: normal quantile of the power that detectable traces speak of.
        weights: whether more than a model's outputs can be had.
    """

    def __init__(
        self, split: ReferenceSplit, parts: Sequence[Part], alpha: float, found: float = FOUND, weights: bool = True
    ) -> None:
        self.split, self.parts, self.alpha, self.found = split, list(parts), alpha, found
        self.tables = tables(split.values, alpha)
        self.signals = [
            name
            for name in readable(split, weights)
            if split.evaluator.measures(split.evaluator.signals[name], parts)
            and all(part.subject in self.tables[name] for part in parts)
            and self._tells(name)
        ]

    def _tells(self, signal: str) -> bool:
        """Whether a signal's null could tell even the oddest model."""
        return True

    def _trace(self, signal: str, reading: Reading) -> Trace:
        raise NotImplementedError

    def _joint(self, traces: Mapping[str, Trace], taken: list[str]) -> Joint:
        raise NotImplementedError

    @property
    def obstacle(self) -> str | None:
        """Why these references cannot answer the request; None where they can, or where nothing is read anyway."""
        own = [name for name in self.signals if not self.split.evaluator.signals[name].per_unit]
        return screen.obstacle(self.split.values, own[0], self.parts) if own else None

    def self_check(self, signals: Sequence[str], groups: Sequence[Indices]) -> SelfCheck:
        """Count false alarms on groups of holdout rows, which nobody saw."""
        return self_check(self.tables, signals, groups, self.alpha)

    def read(self, model: nn.Module, counts: Sequence[str] | None = None) -> Estimates:
        """Read a model.

        Args:
            model: any module of the recipe's kind.
            counts: signals that the joint test is taken over; by default, or where empty, all that the request has.

        Returns:
            Traces and joint test.
        """
        return self.judge(self.split.evaluator.read(model, self.parts, self.signals), counts)

    def judge(self, readings: Mapping[str, Reading], counts: Sequence[str] | None = None) -> Estimates:
        """The result for a model that was read already: ``readings`` by signal, as the split's evaluator gives them."""
        traces = {name: self._trace(name, readings[name]) for name in self.signals}
        return self.counted(Estimates(traces, None, readings), counts)

    def counted(self, estimates: Estimates, counts: Sequence[str] | None) -> Estimates:
        """The same traces with the joint test taken over the signals that count, or all where none does."""
        joint = self._joint(estimates.traces, self.taken(counts)) if estimates.traces else None
        return replace(estimates, joint=joint)


class TraceEstimator(PoolEstimator):
    """Reads models for a request of a few subjects, one by one; their scores add. See ``PoolEstimator``."""

    def _tells(self, signal: str) -> bool:
        return 1 / (1 + len(self.tables[signal].pooled)) <= self.alpha

    @cached_property
    def sensitivity(self) -> dict[str, float]:
        """How finely each signal sees this request: what the joint test weighs it by."""
        return {
            name: self.tables[name].sensitivity_of(self.tables[name].parts_null(self.parts)) for name in self.signals
        }

    def _trace(self, signal: str, reading: Reading) -> Trace:
        return residual_trace(self.tables[signal], self.parts, reading.rows, reading.holdout, self.found)

    def _joint(self, traces: Mapping[str, Trace], taken: list[str]) -> Joint:
        z = {name: trace.z for name, trace in traces.items()}
        return joint_test(self.tables, z, taken, self.alpha, self.sensitivity)


def family_rows(estimator: Signals, estimates: Estimates, counts: Sequence[str]) -> list[dict[str, Any]]:
    """A line a signal: family, trace, interval, p-value, detectable trace, whether it counts."""
    return [
        {
            "family": str(estimator.family(name)), "signal": name, "trace": trace.trace, "low": trace.low,
            "high": trace.high, "p_value": trace.p_value, "detectable": trace.detectable, "counts": name in counts,
        }
        for name, trace in estimates.traces.items()
    ]  # fmt: skip
