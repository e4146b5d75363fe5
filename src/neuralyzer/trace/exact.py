"""The residual trace against exact references: models trained on exactly the retain set.

The score is that of a pool. Its null is the references' own scores, each recomputed without that reference, which gives
a t statistic on ``n - 1`` degrees of freedom (decision 18). These models lack exactly the requested rows. So there is
no ``tau``, and no subject stands in for another. The gap comes from the pool's members.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtr, stdtrit
from torch import nn

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.signal_values import Floats, Indices, Part, SignalValues, SplitValues
from neuralyzer.trace.estimate import score
from neuralyzer.trace.estimator import Estimates, RequestEstimator, readable
from neuralyzer.trace.joint import Joint
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.residual import POWER_QUANTILE, Trace
from neuralyzer.trace.self_check import SelfCheck, binomial_quantile


class ExactEstimator(RequestEstimator):
    """An estimator like ``TraceEstimator``, against exact references.

    Args:
        split: of a pool: its evaluator reads models, and its members that held the rows give the gap.
        parts: the request's rows by subject.
        references: models trained on exactly the retain set, ``n`` of them.
        alpha: error rate of the joint test.
        power_quantile: standard normal quantile of the power that defines a detectable trace.
        weights: whether the models under test have weights; a black box has not, and some signals need them.
    """

    def __init__(
        self,
        split: ReferenceSplit,
        parts: Sequence[Part],
        references: Sequence[nn.Module],
        alpha: float,
        power_quantile: float = POWER_QUANTILE,
        weights: bool = True,
    ) -> None:
        self.split, self.parts, self.alpha, self.power_quantile = split, list(parts), alpha, power_quantile
        self.count = len(references)
        names = readable(split, weights)
        readings = [split.evaluator.read(module, self.parts, names) for module in references]
        self.tables: dict[str, NullTable] = {}
        for name in readings[0]:
            table = _null_table(split, self.parts, name, [by_signal[name] for by_signal in readings])
            if table is not None:
                self.tables[name] = table
        self.signals = list(self.tables)

    def read(self, model: nn.Module, counts: Sequence[str] | None = None) -> Estimates:
        """Read a model and estimate its traces.

        Args:
            model: any module of the recipe's kind.
            counts: signals that the joint test is taken over; by default, or where empty, all that there are.

        Returns:
            Traces and joint test: the smallest p-value times the number of signals (Bonferroni), since eight models
            are too few to estimate how signals depend on each other.
        """
        return self.estimate(self.split.evaluator.read(model, self.parts, self.signals), counts)

    def estimate(self, readings: Mapping[str, Reading], counts: Sequence[str] | None = None) -> Estimates:
        """Return the estimates for a model that was read already; ``readings`` by signal, as the evaluator's."""
        traces = {name: self._trace(table, readings[name]) for name, table in self.tables.items()}
        if not traces:
            return Estimates({}, None, readings)
        taken = self.joint_signals(counts)
        statistic = max(abs(traces[name].z) for name in taken)
        p = min(1.0, len(taken) * min(traces[name].p_value for name in taken))
        critical = float(stdtrit(self.count - 1, 1 - self.alpha / (2 * len(taken))))
        return Estimates(traces, Joint(tuple(taken), statistic, critical, p, p <= self.alpha), readings)

    def self_check(self, signals: Sequence[str], groups: Sequence[Indices]) -> SelfCheck:
        """Test each exact reference, which never saw the rows, against the others; no holdout rows are needed."""
        alarms = 0
        for left in range(self.count):
            p = []
            for table in self.tables.values():
                scores = _weighted(table, [null.gap.norm for null in table.nulls.values()])
                others = np.delete(scores, left)
                t = (scores[left] - others.mean()) / (others.std(ddof=1) * np.sqrt(1 + 1 / len(others)))
                p.append(2 * float(stdtr(self.count - 2, -abs(t))))
            alarms += min(p) * len(p) <= self.alpha
        return SelfCheck(int(alarms), self.count, binomial_quantile(self.count, self.alpha))

    def _trace(self, table: NullTable, reading: Reading) -> Trace:
        numerator = unit = seen = 0.0
        scales = []
        for place, (rows, holdout) in enumerate(zip(reading.rows, reading.holdout, strict=True)):
            null = table.nulls[place]
            shift = table.holdout(place).shift(holdout, null.never)
            scales.append(shift.noise * null.gap.norm)
            numerator += score(rows, null.moments, shift, null.gap) * scales[-1]
            unit += null.gap.unit
            seen += null.seen_variance * scales[-1] ** 2
        scores = _weighted(table, scales)
        # Each of n scores was taken from the mean of the n - 1 others: their spread is sqrt(n / (n - 1)) too wide.
        spread = float(scores.std(ddof=1)) * np.sqrt((self.count - 1) / self.count)
        trace, se = float(numerator - scores.mean()) / unit, float(spread) / unit
        t = trace / se
        critical = float(stdtrit(self.count - 1, 1 - self.alpha / 2))
        detectable = critical * se + self.power_quantile * float(np.sqrt(seen)) / unit
        p = 2 * float(stdtr(self.count - 1, -abs(t)))
        return Trace(trace, trace - critical * se, trace + critical * se, se, t, p, detectable)


def _weighted(table: NullTable, scales: Sequence[float]) -> Floats:
    """Return the references' scores summed over all parts, each part times the scale of the model under test."""
    return np.asarray(
        np.sum([null.scores * scale for null, scale in zip(table.nulls.values(), scales, strict=True)], axis=0)
    )


def _null_table(
    split: ReferenceSplit, parts: Sequence[Part], name: str, readings: Sequence[Reading]
) -> NullTable | None:
    """Make the null table of one signal from the exact references, which saw no part, and the pool's members.

    The table's rows are those of the parts alone, its subjects the parts. Members count as having seen what they held.

    Returns:
        The table; None where it cannot read every part.
    """
    pool, members, count = split.values.signals[name], split.values.members, len(readings)
    chosen = np.concatenate([part.rows for part in parts])
    rows = np.vstack([*(np.concatenate(reading.rows) for reading in readings), pool.rows[:, chosen]])
    if pool.units is None:
        holdout, units = np.vstack([*(reading.holdout[0] for reading in readings), pool.holdout]), None
    else:
        of_references = np.stack([np.stack(reading.holdout) for reading in readings])
        holdout = np.vstack([of_references, np.stack([pool.holdout_of(part.subject) for part in parts], axis=1)])
        units = {place: place for place in range(len(parts))}
    held = np.zeros((count + members, len(chosen)), dtype=bool)
    held_rows = split.values.held
    for place, at in enumerate(_ranges(parts)):
        part = parts[place]
        held[count:, at] = split.values.keep[:, [part.subject]] if held_rows is None else held_rows[:, part.rows]
    keep = np.zeros((count + members, len(parts)), dtype=bool)
    keep[count:] = True
    joined = SplitValues(keep, _ranges(parts), {"own": SignalValues(rows, holdout, units)}, held, share=0.0)
    table = NullTable(joined, "own")
    return table if len(table.subjects) == len(parts) and len(table.nulls) == len(parts) else None


def _ranges(parts: Sequence[Part]) -> list[np.ndarray]:
    """Return each part's positions where the rows of all parts stand one after the other."""
    ends = np.cumsum([len(part.rows) for part in parts])
    return [np.arange(end - len(part.rows), end) for part, end in zip(parts, ends, strict=True)]
