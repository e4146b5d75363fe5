"""The positive control: the original saw every subject, so the test must find it wherever it has the power to.

The same is tried on the model under test, on subjects that it should still hold.

If a pool's members were not trained as the original was, traces are in the wrong unit, and a model that holds
everything may look as if it held nothing. Then the original itself is missed on subjects on which its trace should be
found with 95 % power. The detection rate shows this, and the mean trace gives the unit (decision 30).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.signal_values import Floats, Part
from neuralyzer.trace.group_estimator import estimator_for
from neuralyzer.trace.residual import Trace
from neuralyzer.trace.verdict import counting

POWER = 0.95  # with which a detectable trace is found, by its definition
LEVEL = 0.01  # chance that a pool with this power fails the control
NORMAL = 1.960  # standard normal quantile at 97.5 %, for a 95 % interval
LEAST_UNIT = 0.5  # smallest unit of a model under test that shows less than this of what it kept (docs/trace.md)
SMALLEST_SCALE = 0.01  # of the unit, so that a family that reads next to nothing of the original cannot count


@dataclass(frozen=True)
class SignalControl:
    """One signal's traces of the original on subjects that it saw.

    Attributes:
        detected: share of the subjects whose trace is found by this signal alone.
        promised: share of the subjects whose detectable trace is at most 1.
        trace: mean trace; subjects weigh by the inverse of their squared standard error.
        low: lower end of its 95 % interval, over subjects.
        high: upper end.
    """

    detected: float
    promised: float
    trace: float
    low: float
    high: float

    @property
    def scale(self) -> float:
        """Return the lower bound on what a whole trace measures: 1, or ``low`` where the interval lies below 1."""
        return max(self.low, SMALLEST_SCALE) if self.high < 1 else 1.0


@dataclass(frozen=True)
class PositiveControl:
    """The number of subjects, among those that the original saw, on which the joint test finds it.

    Attributes:
        groups: number of subjects, or groups of them, that were read.
        size: subjects of the largest group.
        detected: on how many of them the joint test rejects.
        promised: on how many of them some signal's detectable trace is at most 1.
        found: on how many of the promised ones the joint test rejects.
        signals: by name.
    """

    groups: int
    size: int
    detected: int
    promised: int
    found: int
    signals: Mapping[str, SignalControl]

    @property
    def faint(self) -> bool:
        """Return whether, by every signal that could find a whole trace, the mean's interval lies below a half."""
        able = [control for control in self.signals.values() if control.promised]
        return bool(able) and all(control.high < LEAST_UNIT for control in able)

    @property
    def passed(self) -> bool:
        """Return whether traces are not faint and enough promised ones were found (one-sided binomial test)."""
        return not self.faint and (self.promised == 0 or float(bdtr(self.found, self.promised, POWER)) >= LEVEL)

    @property
    def failure(self) -> str:
        """Return what failed, in words."""
        if self.faint:
            return f"reads less than half of a trace, on average over {self.groups} {self.subjects_read}"
        return f"is found on {self.found} of {self.promised} {self.subjects_read} on which it should be"

    @property
    def subjects_read(self) -> str:
        """Return what was read, in words."""
        return "subjects" if self.size == 1 else f"groups of up to {self.size} subjects"

    def scale(self, signal: str) -> float:
        """Return the lower bound on what a whole trace measures by a signal; 1 for a signal that was not read."""
        control = self.signals.get(signal)
        return 1.0 if control is None else control.scale

    def to_dict(self) -> dict[str, Any]:
        """Return the control as plain values."""
        return asdict(self) | {"passed": self.passed}

    @classmethod
    def optional(cls, values: Mapping[str, Any] | None) -> "PositiveControl | None":
        """Return the control that was written down; None where there is none."""
        return None if values is None else cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PositiveControl":
        """Return the control that ``to_dict`` wrote down."""
        signals = {name: SignalControl(**fields) for name, fields in values["signals"].items()}
        counts = {name: values[name] for name in ("groups", "size", "detected", "promised", "found")}
        return cls(**counts, signals=signals)


def positive_control(
    split: ReferenceSplit,
    groups: Sequence[Sequence[Part]],
    readings: Mapping[str, Mapping[int, Reading]],
    alpha: float,
    weights: bool = True,
    own_unit: bool = False,
) -> PositiveControl:
    """Count how often a model that saw the rows, such as the original, is found.

    Args:
        split: the references.
        groups: whole subjects that the model saw; each group is tested as a request.
        readings: of the model, by signal and subject.
        alpha: error rate of the joint test.
        weights: whether the model's weights can be read, not its outputs alone.
        own_unit: whether a whole trace counts as what this model shows of one, where that is less than 1. A model
            trained without misleading rows is right about rows that it never saw, so rows that it saw stand out less.
            Verdicts on it are in the same unit.

    Returns:
        The control.
    """
    rejected, detectable, traces = [], list[Mapping[str, float]](), dict[str, list[Trace]]()
    for parts in groups:
        estimator = estimator_for(split, parts, alpha, weights=weights)
        if not estimator.signals:
            continue
        by_signal = {name: _joined([readings[name][part.subject] for part in parts]) for name in estimator.signals}
        estimates = estimator.estimate(by_signal)
        counts = counting(estimates.detectable)
        if counts:
            estimates = estimator.with_joint_test(estimates, counts)
        rejected.append(estimates.rejects)
        detectable.append(estimates.detectable)
        for name, trace in estimates.traces.items():
            traces.setdefault(name, []).append(trace)
    signals = {name: _signal_control(of_signal) for name, of_signal in traces.items()}
    units = {name: max(control.scale, LEAST_UNIT) if own_unit else 1.0 for name, control in signals.items()}
    promised = [any(value <= units[name] for name, value in of_group.items()) for of_group in detectable]
    both = sum(r and p for r, p in zip(rejected, promised, strict=True))
    size = max((len(parts) for parts in groups), default=1)
    return PositiveControl(len(rejected), size, sum(rejected), sum(promised), both, signals)


def _joined(readings: Sequence[Reading]) -> Reading:
    """Return one reading of all parts."""
    return Reading(
        [rows for reading in readings for rows in reading.rows],
        [holdout for reading in readings for holdout in reading.holdout],
    )


def _signal_control(traces: Sequence[Trace]) -> SignalControl:
    values, errors = (np.array([getattr(trace, name) for trace in traces]) for name in ("trace", "se"))
    mean, error = weighted_mean(values, 1 / np.square(errors))
    return SignalControl(
        float(np.mean([trace.found for trace in traces])), float(np.mean([trace.detectable <= 1 for trace in traces])),
        mean, mean - NORMAL * error, mean + NORMAL * error,
    )  # fmt: skip


def weighted_mean(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return a weighted mean and its standard error over independent values (Cochran 1977, equation 6.13).

    Args:
        values: ``(n,)``.
        weights: positive, ``(n,)``.

    Returns:
        Mean and standard error; the latter is the mean's size where there are fewer than two values.
    """
    mean = float(values @ weights / weights.sum())
    if len(values) < 2:
        return mean, abs(mean)
    residuals = weights * (values - mean)
    error = float(np.sqrt(np.square(residuals).sum() * len(values) / (len(values) - 1)) / weights.sum())
    return mean, error
