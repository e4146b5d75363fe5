"""The residual trace against exact references: models trained on exactly the retain set.

The same score as against a pool, its null the references' own scores, each recomputed without it: a t statistic on
``n - 1`` degrees of freedom. These models lack just the requested rows, so nothing (``tau``) limits how fine they see,
and no subject stands in for another. What having seen the rows is worth, the gap, comes from the pool's members.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtr, stdtrit
from torch import nn

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.signal_values import Floats, Indices, Part, Readings, SplitValues
from neuralyzer.trace.estimate import score
from neuralyzer.trace.estimator import Estimates, Signals, readable
from neuralyzer.trace.joint import Joint
from neuralyzer.trace.null_table import Table
from neuralyzer.trace.residual import FOUND, Trace
from neuralyzer.trace.self_check import SelfCheck, binomial_quantile


class ExactEstimator(Signals):
    """Reads models for one request, as ``TraceEstimator`` does, against exact references.

    Args:
        split: of a pool: its evaluator reads, its members that held the rows give the gap.
        parts: what the request asks for, by subject.
        references: models trained on exactly the retain set, ``n`` of them.
        alpha: error rate of the joint test.
        found: normal quantile of the power that detectable traces speak of.
        weights: whether the models under test have weights; a black box has not, and some signals need them.
    """

    def __init__(
        self,
        split: ReferenceSplit,
        parts: Sequence[Part],
        references: Sequence[nn.Module],
        alpha: float,
        found: float = FOUND,
        weights: bool = True,
    ) -> None:
        self.split, self.parts, self.alpha, self.found, self.count = split, list(parts), alpha, found, len(references)
        names = readable(split, weights)
        read = [split.evaluator.read(module, self.parts, names) for module in references]
        self.tables: dict[str, Table] = {}
        for name in read[0]:
            table = _table(split, self.parts, name, [found_[name] for found_ in read])
            if table is not None:
                self.tables[name] = table
        self.signals = list(self.tables)

    def read(self, model: nn.Module, counts: Sequence[str] | None = None) -> Estimates:
        """Read a model.

        Args:
            model: any module of the recipe's kind.
            counts: signals that the joint test is taken over; by default, or where empty, all that there are.

        Returns:
            Traces and joint test: the smallest p-value times the number of signals (Bonferroni), since eight models
            do not tell how signals go together.
        """
        return self.judge(self.split.evaluator.read(model, self.parts, self.signals), counts)

    def judge(self, readings: Mapping[str, Reading], counts: Sequence[str] | None = None) -> Estimates:
        """The result for a model that was read already: ``readings`` by signal, as the split's evaluator gives them."""
        traces = {name: self._trace(table, readings[name]) for name, table in self.tables.items()}
        if not traces:
            return Estimates({}, None, readings)
        taken = self.taken(counts)
        statistic = max(abs(traces[name].z) for name in taken)
        p = min(1.0, len(taken) * min(traces[name].p_value for name in taken))
        critical = float(stdtrit(self.count - 1, 1 - self.alpha / (2 * len(taken))))
        return Estimates(traces, Joint(tuple(taken), statistic, critical, p, p <= self.alpha), readings)

    def self_check(self, signals: Sequence[str], groups: Sequence[Indices]) -> SelfCheck:
        """Each exact reference, which never saw the rows, judged by the others; no holdout rows are needed."""
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

    def _trace(self, table: Table, reading: Reading) -> Trace:
        numerator = unit = seen = 0.0
        scales = []
        for place, (rows, outside) in enumerate(zip(reading.rows, reading.holdout, strict=True)):
            null = table.nulls[place]
            shift = table.holdout(place).shift(outside, null.never)
            scales.append(shift.noise * null.gap.norm)
            numerator += score(rows, null.moments, shift, null.gap) * scales[-1]
            unit += null.gap.unit
            seen += null.seen_variance * scales[-1] ** 2
        own = _weighted(table, scales)
        # Each of n scores was taken from the mean of the n - 1 others: their spread is sqrt(n / (n - 1)) too wide.
        spread = float(own.std(ddof=1)) * np.sqrt((self.count - 1) / self.count)
        trace, se = float(numerator - own.mean()) / unit, float(spread) / unit
        t = trace / se
        critical = float(stdtrit(self.count - 1, 1 - self.alpha / 2))
        detectable = critical * se + self.found * float(np.sqrt(seen)) / unit
        p = 2 * float(stdtr(self.count - 1, -abs(t)))
        return Trace(trace, trace - critical * se, trace + critical * se, se, t, p, detectable)


def _weighted(table: Table, scales: Sequence[float]) -> Floats:
    """The references' scores over all parts, each part in the unit that the model under test gives it."""
    return np.asarray(
        np.sum([null.scores * scale for null, scale in zip(table.nulls.values(), scales, strict=True)], axis=0)
    )


def _table(split: ReferenceSplit, parts: Sequence[Part], name: str, read: Sequence[Reading]) -> Table | None:
    """A half of exact references, which saw no part, and of the pool's members, which saw all that they held."""
    pool, members, count = split.values.signals[name], split.values.members, len(read)
    chosen = np.concatenate([part.rows for part in parts])
    rows = np.vstack([*(np.concatenate(reading.rows) for reading in read), pool.rows[:, chosen]])
    if pool.units is None:
        outside, units = np.vstack([*(reading.holdout[0] for reading in read), pool.holdout]), None
    else:
        own = np.stack([np.stack(reading.holdout) for reading in read])
        outside = np.vstack([own, np.stack([pool.holdout_of(part.subject) for part in parts], axis=1)])
        units = {place: place for place in range(len(parts))}
    held = np.zeros((count + members, len(chosen)), dtype=bool)
    whole = split.values.held
    for place, at in enumerate(_ranges(parts)):
        part = parts[place]
        held[count:, at] = split.values.keep[:, [part.subject]] if whole is None else whole[:, part.rows]
    keep = np.zeros((count + members, len(parts)), dtype=bool)
    keep[count:] = True
    joined = SplitValues(keep, _ranges(parts), {"own": Readings(rows, outside, units)}, held, share=0.0)
    table = Table(joined, "own")
    return table if len(table.subjects) == len(parts) and len(table.nulls) == len(parts) else None


def _ranges(parts: Sequence[Part]) -> list[np.ndarray]:
    ends = np.cumsum([len(part.rows) for part in parts])
    return [np.arange(end - len(part.rows), end) for part, end in zip(parts, ends, strict=True)]
