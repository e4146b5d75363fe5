"""A Gaussian world where traces are known: rows have their own level, spread and gap, members their own noise."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.design import leave_out, share_for
from neuralyzer.references.signal_values import Part, SignalValues, SplitValues


@dataclass(frozen=True)
class World:
    """``phi_m(i) = level_i + gap_i [m saw i] + spread_i noise``; holdout rows are seen by nobody."""

    values: SplitValues
    level: np.ndarray
    spread: np.ndarray
    gap: np.ndarray
    outside_level: np.ndarray
    outside_spread: np.ndarray

    def part(self, subject):
        return Part(subject, self.values.positions[subject])

    def model(self, subject, trace, generator, noise=1.0, c0=0.0, c1=0.0):
        """Readings on a subject's rows and on the holdout of a model that holds ``trace`` of the gap."""
        rows = self.values.positions[subject]
        never = self.level[rows] * (1 + c1) + self.spread[rows] * (c0 + noise * generator.normal(size=len(rows)))
        beyond = self.outside_level * (1 + c1) + self.outside_spread * (
            c0 + noise * generator.normal(size=len(self.outside_level))
        )
        return never + trace * self.gap[rows], beyond


def gaussian(seed, members=32, subjects=24, size=30, holdout=300, gap=1.0, signals=("own",)):
    generator = np.random.default_rng(seed)
    rows = subjects * size
    level, spread = generator.normal(2, 1, rows), generator.uniform(0.5, 1.5, rows)
    outside_level, outside_spread = generator.normal(2, 1, holdout), generator.uniform(0.5, 1.5, holdout)
    lift = gap * spread * generator.uniform(0.2, 1.8, rows)
    positions = list(np.arange(rows).reshape(subjects, size))
    keep = leave_out(members, np.full(subjects, size), share_for(members), seed)
    saw = keep[:, np.repeat(np.arange(subjects), size)]

    def readings():
        return SignalValues(
            level + lift * saw + spread * generator.normal(size=saw.shape),
            outside_level + outside_spread * generator.normal(size=(members, holdout)),
        )

    split = SplitValues(keep, positions, {name: readings() for name in signals})
    return World(split, level, spread, lift, outside_level, outside_spread)
