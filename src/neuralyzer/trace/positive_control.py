"""The positive control: the original saw every subject, so the test must find it wherever it promises to.

A model under test is held to the same on the subjects that it should still hold.

A pool whose members were not trained as the original was reads a trace in the wrong unit, and a model that holds
everything may look as if it held nothing. Where that is so, the original itself is missed on subjects on which its
trace should have been found with 95 % power. The detection rate tells this; the mean trace tells the unit.
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

POWER = 0.95  # with which a detectable trace is found
LEVEL = 0.01  # chance that a pool that keeps this promise fails
NORMAL = 1.960  # quantile of a 95 % interval
LEAST_UNIT = 0.5  # of a model's own: one that shows less of what it kept is held to half of a trace
SMALLEST_SCALE = 0.01  # of the unit: a family that reads next to nothing of the original cannot count


@dataclass(frozen=True)
class SignalControl:
    """What one signal reads of the original on subjects that it saw.

    Attributes:
        detected: share of the subjects whose trace is found by this signal alone.
        promised: share of the subjects whose detectable trace is at most 1.
        trace: mean trace; each subject weighs by how finely it is seen, the inverse of its squared standard error.
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
        """What a whole trace really reads, at least: 1 unless the mean trace is surely lower."""
        return max(self.low, SMALLEST_SCALE) if self.high < 1 else 1.0


@dataclass(frozen=True)
class PositiveControl:
    """How often the joint test finds the original on subjects that it saw.

    Attributes:
        groups: how many subjects, or groups of them, were read.
        size: subjects of a group.
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
        """Whether every signal that could see a whole trace surely reads less than half of one on average."""
        able = [own for own in self.signals.values() if own.promised]
        return bool(able) and all(own.high < LEAST_UNIT for own in able)

    @property
    def passed(self) -> bool:
        """Whether it shows itself, and as many were found as promised, as far as their number tells: binomial, one-sided."""
        return not self.faint and (self.promised == 0 or float(bdtr(self.found, self.promised, POWER)) >= LEVEL)

    @property
    def missing(self) -> str:
        """What failed, in words."""
        if self.faint:
            return f"reads less than half of a trace, on average over {self.groups} {self.whom}"
        return f"is found on {self.found} of {self.promised} {self.whom} on which it should be"

    @property
    def whom(self) -> str:
        """What was read, in words."""
        return "subjects" if self.size == 1 else f"groups of up to {self.size} subjects"

    def scale(self, signal: str) -> float:
        """What a whole trace reads by a signal, at least; 1 for a signal that was not read."""
        own = self.signals.get(signal)
        return 1.0 if own is None else own.scale

    def to_dict(self) -> dict[str, Any]:
        """The control as plain values."""
        return asdict(self) | {"passed": self.passed}

    @classmethod
    def optional(cls, values: Mapping[str, Any] | None) -> "PositiveControl | None":
        """Return the control that was written down; None where there is none."""
        return None if values is None else cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PositiveControl":
        """The control that ``to_dict`` wrote down."""
        signals = {name: SignalControl(**own) for name, own in values["signals"].items()}
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
    """Count how often a model is found that saw the rows, such as the original.

    Args:
        split: the references that read.
        groups: whole subjects that it saw, each to be judged as a request.
        readings: of the model, by signal and subject.
        alpha: error rate of the joint test.
        weights: whether it is read by more than its answers.
        own_unit: whether a whole trace is what this model reads of one, where that is less: one that was trained
            without rows that mislead is right about rows that it never saw, so that those it saw stand out less.
            Verdicts on it are in the same unit.

    Returns:
        The control.
    """
    rejected, detectable, traces = [], list[Mapping[str, float]](), dict[str, list[Trace]]()
    for parts in groups:
        estimator = estimator_for(split, parts, alpha, weights=weights)
        if not estimator.signals:
            continue
        own = {name: _together([readings[name][part.subject] for part in parts]) for name in estimator.signals}
        estimates = estimator.judge(own)
        counts = counting(estimates.detectable)
        if counts:
            estimates = estimator.counted(estimates, counts)
        rejected.append(estimates.rejects)
        detectable.append(estimates.detectable)
        for name, trace in estimates.traces.items():
            traces.setdefault(name, []).append(trace)
    signals = {name: _signal(own) for name, own in traces.items()}
    units = {name: max(own.scale, LEAST_UNIT) if own_unit else 1.0 for name, own in signals.items()}
    promised = [any(value <= units[name] for name, value in own.items()) for own in detectable]
    both = sum(r and p for r, p in zip(rejected, promised, strict=True))
    size = max((len(parts) for parts in groups), default=1)
    return PositiveControl(len(rejected), size, sum(rejected), sum(promised), both, signals)


def _together(read: Sequence[Reading]) -> Reading:
    return Reading([rows for own in read for rows in own.rows], [outside for own in read for outside in own.holdout])


def _signal(traces: Sequence[Trace]) -> SignalControl:
    values, errors = (np.array([getattr(own, name) for own in traces]) for name in ("trace", "se"))
    mean, error = weighted_mean(values, 1 / np.square(errors))
    return SignalControl(
        float(np.mean([own.found for own in traces])), float(np.mean([own.detectable <= 1 for own in traces])),
        mean, mean - NORMAL * error, mean + NORMAL * error,
    )  # fmt: skip


def weighted_mean(values: Floats, weights: Floats) -> tuple[float, float]:
    """A weighted mean and its standard error over independent values (Cochran 1977, equation 6.13).

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
