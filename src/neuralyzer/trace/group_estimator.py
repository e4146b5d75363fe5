"""The estimator for a request of many subjects, and the choice of an estimator for a request."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy.special import ndtri, stdtrit

from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.signal_values import Indices, Part
from neuralyzer.trace.estimator import PoolEstimator, TraceEstimator
from neuralyzer.trace.group import Draws, GroupTable, Spread, draws, group_table, rows_left_out, spread
from neuralyzer.trace.group_check import group_self_check
from neuralyzer.trace.joint import Joint, p_above, weights
from neuralyzer.trace.residual import POWER_QUANTILE, Trace
from neuralyzer.trace.self_check import SelfCheck

MANY = 8  # subjects; with fewer, each is scored alone and the scores are added (docs/trace.md)


class GroupEstimator(PoolEstimator):
    """An estimator for a request of many subjects, which are scored as one group (see ``group``)."""

    @property
    def rows(self) -> int:
        """Return the number of rows that the request asks for."""
        return sum(len(part.rows) for part in self.parts)

    @cached_property
    def usable(self) -> tuple[int, ...]:
        """Return the subjects that own rows and that every one of the request's signals reads."""
        owners = np.unique(self.split.values.owners)
        return tuple(int(s) for s in owners if all(int(s) in self.tables[name] for name in self.signals))

    @property
    def obstacle(self) -> str | None:
        """Return why these references cannot answer the request; None where they can, or where no signal reads it."""
        if not self.signals:
            return None
        most = rows_left_out(self.split.values, self.usable)
        if self.rows > most:
            return f"it asks for {self.rows} rows of many subjects, and each reference lacks {most} only"
        return super().obstacle

    @cached_property
    def _null(self) -> Draws:
        return draws(self.split.values, self.usable, self.rows, False)

    @cached_property
    def _spreads(self) -> dict[str, Spread]:
        seen = draws(self.split.values, self.usable, self.rows, True)
        return {name: spread(self._table(name), self._null, seen) for name in self.signals}

    def _table(self, signal: str) -> GroupTable:
        return group_table(self.split.values, self.tables[signal])

    @property
    def _widening(self) -> float:
        """Return the factor on the critical value for a spread estimated from few members: t over normal quantile."""
        members = len(np.unique(self._null.member))
        return float(stdtrit(members - 1, 1 - self.alpha / 2) / ndtri(1 - self.alpha / 2))

    @property
    def _tau(self) -> float:
        """Return ``tau``, the error that remains because members lack more data than the model: half of the excess."""
        split = self.split.values
        return max(0.0, split.share - self.rows / len(split.owners)) / 2

    def _joint(self, traces: Mapping[str, Trace], taken: list[str]) -> Joint:
        weight = weights(taken, {name: 1 / traces[name].se for name in taken})
        z = np.stack([np.abs(self._spreads[name].null) / self._spreads[name].sd for name in taken])
        null = (weight[:, None] * z).max(0) * self._widening
        statistic = max(float(w * abs(traces[name].z)) for w, name in zip(weight, taken, strict=True))
        p = p_above(null, statistic)
        return Joint(tuple(taken), statistic, float(np.quantile(null, 1 - self.alpha)), p, p <= self.alpha)

    def self_check(self, signals: Sequence[str], groups: Sequence[Indices]) -> SelfCheck:
        """Count false alarms on groups of holdout rows, joined to the request's size.

        Args:
            signals: which take part; those with a holdout of their own for each subject cannot and are left out.
            groups: positions of holdout rows, in groups of a subject's size.

        Returns:
            Alarms and tests, one for each member and group.
        """
        usable = tuple(name for name in signals if self.tables[name].readings.units is None)
        test_rows = np.concatenate([np.empty(0, np.int64), *groups])
        if not usable or not len(test_rows):
            return SelfCheck(0, 0)
        return group_self_check(
            self.split.values, self.alpha, usable, self.usable, self.rows, tuple(test_rows.tolist()), self._widening
        )

    def _trace(self, name: str, reading: Reading) -> Trace:
        table, scale = self._table(name), self._spreads[name]
        sums = table.of_model(self.parts, reading.rows, reading.holdout).total()
        noise, unit = float(np.sqrt(sums.noise)), float(sums.floored_unit)
        null = np.abs(scale.null) / scale.sd * self._widening
        trace = float(sums.score) / unit
        se = float(np.hypot(scale.sd * noise / unit, self._tau))
        reach = float(np.quantile(null, 1 - self.alpha)) * se
        p = p_above(null, abs(trace / se))
        detectable = reach + self.power_quantile * scale.seen * noise / unit
        return Trace(trace, trace - reach, trace + reach, se, trace / se, p, detectable)


def estimator_for(
    split: ReferenceSplit,
    parts: Sequence[Part],
    alpha: float,
    power_quantile: float = POWER_QUANTILE,
    weights: bool = True,
) -> PoolEstimator:
    """Return the estimator for a request: a ``GroupEstimator`` from ``MANY`` subjects on, else a ``TraceEstimator``."""
    kind = GroupEstimator if len(parts) >= MANY else TraceEstimator
    return kind(split, parts, alpha, power_quantile, weights)
