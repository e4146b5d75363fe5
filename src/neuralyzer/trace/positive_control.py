"""The positive control: the original saw every subject, so the test must find it wherever it promises to.

A pool whose members were not trained as the original was reads a trace in the wrong unit, and a model that holds
everything may look as if it held nothing. Where that is so, the original itself is missed on subjects on which its
trace should have been found with 95 % power. The detection rate tells this; the mean trace tells the unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr

from neuralyzer.references.half import ReferenceHalf
from neuralyzer.references.measuring import Reading
from neuralyzer.references.readings import Floats, Part
from neuralyzer.trace.gauge import Gauge, tables
from neuralyzer.trace.residual import Trace
from neuralyzer.trace.verdict import counting

POWER = 0.95  # with which a detectable trace is found
LEVEL = 0.01  # chance that a pool that keeps this promise fails
NORMAL = 1.960  # quantile of a 95 % interval
SMALLEST_SCALE = 0.01  # of the unit: a family that reads next to nothing of the original cannot count


@dataclass(frozen=True)
class SignalControl:
    """What one signal reads of the original on subjects that it saw.

    Attributes:
        detected: share of the subjects whose trace is found by this signal alone.
        promised: share of the subjects whose detectable trace is at most 1.
        trace: mean trace; each subject weighs by what its whole trace is worth.
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
        subjects: how many were read.
        detected: on how many of them the joint test rejects.
        promised: on how many of them some signal's detectable trace is at most 1.
        found: on how many of the promised ones the joint test rejects.
        signals: by name.
    """

    subjects: int
    detected: int
    promised: int
    found: int
    signals: Mapping[str, SignalControl]

    @property
    def passed(self) -> bool:
        """Whether as many were found as promised, as far as their number tells: binomial, one-sided."""
        return self.promised == 0 or float(bdtr(self.found, self.promised, POWER)) >= LEVEL

    def scale(self, signal: str) -> float:
        """What a whole trace reads by a signal, at least; 1 for a signal that was not read."""
        own = self.signals.get(signal)
        return 1.0 if own is None else own.scale

    def to_dict(self) -> dict[str, Any]:
        """The control as plain values."""
        return asdict(self) | {"passed": self.passed}

    @classmethod
    def optional(cls, values: Mapping[str, Any] | None) -> "PositiveControl | None":
        """The like where there may be none."""
        return None if values is None else cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PositiveControl":
        """The control that ``to_dict`` wrote down."""
        signals = {name: SignalControl(**own) for name, own in values["signals"].items()}
        counts = {name: values[name] for name in ("subjects", "detected", "promised", "found")}
        return cls(**counts, signals=signals)


def subjects_of(half: ReferenceHalf, alpha: float) -> list[Part]:
    """The whole subjects that a control reads: those that any signal's null is learned from."""
    chosen = sorted({subject for table in tables(half.half, alpha).values() for subject in table.subjects})
    return [Part(subject, half.half.positions[subject]) for subject in chosen]


def positive_control(
    half: ReferenceHalf, parts: Sequence[Part], readings: Mapping[str, Mapping[int, Reading]], alpha: float
) -> PositiveControl:
    """Count how often the original is found.

    Args:
        half: the references that read.
        parts: whole subjects that the original saw.
        readings: of the original, by signal and subject.
        alpha: error rate of the joint test.

    Returns:
        The control.
    """
    rejected, promised, traces = [], [], dict[str, list[Trace]]()
    units: dict[str, list[float]] = {}
    found: dict[str, list[bool]] = {}
    for part in parts:
        gauge = Gauge(half, [part], alpha)
        if not gauge.signals:
            continue
        own = {name: readings[name][part.subject] for name in gauge.signals}
        gauged = gauge.judge(own)
        counts = counting(gauged.detectable)
        if counts:
            gauged = gauge.judge(own, counts)
        rejected.append(gauged.rejects)
        promised.append(bool(counts))
        for name, trace in gauged.traces.items():
            table = gauge.tables[name]
            traces.setdefault(name, []).append(trace)
            units.setdefault(name, []).append(float(table.null_of(part.subject).gap.unit))
            found.setdefault(name, []).append(bool(abs(trace.z) >= table.critical))
    signals = {
        name: _signal([t.trace for t in own], units[name], [t.detectable for t in own], found[name])
        for name, own in traces.items()
    }
    both = sum(r and p for r, p in zip(rejected, promised, strict=True))
    return PositiveControl(len(rejected), sum(rejected), sum(promised), both, signals)


def _signal(
    traces: Sequence[float], units: Sequence[float], detectable: Sequence[float], found: Sequence[bool]
) -> SignalControl:
    mean, error = weighted_mean(np.array(traces), np.array(units))
    promised = float(np.mean(np.array(detectable) <= 1))
    return SignalControl(float(np.mean(found)), promised, mean, mean - NORMAL * error, mean + NORMAL * error)


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
