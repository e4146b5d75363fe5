"""One signal on a request of many subjects: cross-fitted weights, and a null of groups of the request's size.

Where a row's weight and the reading expected of it rest on the same members' mean, chance in that mean enters both.
Over hundreds of rows this small bias is all that is left. So the members are cut into folds. A row's weight comes from
all folds but one; the expected reading and the unit come from that one; and the sums over the folds are added
(cross-fitting, Chernozhukov et al. 2018, arXiv 1608.00060, definition 3.2). With weights ``w_f``, a model's reading
``y`` and the means ``mu_f`` and ``nu_f`` over the members of fold ``f`` that never held and that held a row:

    score = sum_f w_f (y - mu_f)        unit = sum_f w_f (nu_f - mu_f)        trace = score / unit

How far models lie apart that never saw a group is learned from groups of the same size: each member is scored on
subjects that it never saw, everything computed without it. How far models lie apart that did see it is learned from
subjects that it held. No assumption is made on how subjects go together, and none on what members differ by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats, Indices, Part, SplitValues
from neuralyzer.trace import moments as _moments
from neuralyzer.trace.estimate import SMALLEST_UNIT
from neuralyzer.trace.null_table import Table
from neuralyzer.trace.prediction import Shift, shifts_apart

FOLDS = 3  # each has two of the six members at least that never saw a subject
DRAWS = 32  # groups that each member is scored on


@dataclass(frozen=True)
class Sums:
    """What rows or subjects add to a group's score, each ``(..., n)``; sums over a group are the group's.

    Attributes:
        score: weighted excess over the expected reading.
        unit: the same of a model that saw the rows.
        noise: variance of the score, were rows independent.
        squared: ``unit`` as the weights' own members have it; too large, for chance enters twice.
    """

    score: Floats
    unit: Floats
    noise: Floats
    squared: Floats

    def total(self) -> "Sums":
        """Over all rows."""
        return Sums(*(np.asarray(own.sum(-1)) for own in self._all))

    def by(self, group: Indices, count: int) -> "Sums":
        """By subject: ``group (n,)`` numbers each row's, ``(count,)`` each."""
        return Sums(*(np.bincount(group, own, count).astype(float) for own in self._all))

    @property
    def _all(self) -> tuple[Floats, Floats, Floats, Floats]:
        return self.score, self.unit, self.noise, self.squared

    @property
    def scaled(self) -> Floats:
        """The score in units of its noise."""
        return np.asarray(self.score / np.sqrt(self.noise))

    @property
    def whole(self) -> Floats:
        """The unit, kept from being eaten by chance."""
        return np.maximum(self.unit, SMALLEST_UNIT * self.squared)


@dataclass(frozen=True, eq=False)
class Draws:
    """Groups of subjects, each for one member to be scored on: ``member (K,)``, and the subjects of each."""

    member: Indices
    subjects: tuple[Indices, ...]


class GroupTable:
    """One signal on one half, ready for requests of many subjects.

    Args:
        split: the references.
        table: of the same signal, for its floors and its holdout.
    """

    def __init__(self, split: SplitValues, table: Table) -> None:
        self.values, self.table, self.readings = split, table, split.signals[table.signal]
        self.held: Flags = split.rows_held_by
        self.never: Flags = split.rows_asked_of
        phi = np.nan_to_num(self.readings.rows)
        whole = _moments.moments(phi, phi, self.held, table.spread_floor, self.never)
        self.mean, self.spread, self._gap = whole.never, whole.spread, whole.seen - whole.never
        self._within, self._apart = _within(phi, self.held, self.never)
        self._noise = np.ones(phi.shape)
        self.tilde = phi - self._expected()
        self._fold = np.where(self.held, np.cumsum(self.held, 0), np.cumsum(self.never, 0)) % FOLDS
        self._sums = {kind: self._folded(flags) for kind, flags in (("never", self.never), ("seen", self.held))}

    def _expected(self) -> Floats:
        """What each member reads too high or too low of each row, as its holdout tells; its noise is noted."""
        expected = np.zeros(self._noise.shape)
        for rows, outside in self._holdouts():
            for member, shift in enumerate(shifts_apart(outside)):
                expected[member, rows] = shift.on(self.mean[rows], self.spread[rows])
                self._noise[member, rows] = shift.noise
        return expected

    def _holdouts(self) -> list[tuple[Indices, Floats]]:
        """Rows that share a holdout, and the members' readings on it."""
        if self.readings.units is None:
            return [(np.arange(self.readings.rows.shape[1]), self.readings.holdout)]
        return [
            (self.values.positions[subject], self.readings.holdout_of(subject))
            for subject in sorted(self.table.readable)
        ]

    def _spread_without(self, member: int) -> Floats:
        """The spread within both kinds of members, ``(N,)``, had there not been this one."""
        freedom = self.never.sum(0) + self.held.sum(0) - 3.0
        variance = np.maximum(self._within - self._apart[member], 0.0) / freedom
        return np.asarray(np.maximum(np.sqrt(variance), self.table.spread_floor))

    def _folded(self, flags: Flags) -> tuple[Floats, Floats]:
        """Sum and number of the readings of each fold, ``(FOLDS, N)`` each."""
        inside = [flags & (self._fold == fold) for fold in range(FOLDS)]
        return (
            np.stack([np.where(own, self.tilde, 0.0).sum(0) for own in inside]),
            np.stack([own.sum(0).astype(float) for own in inside]),
        )

    @cached_property
    def gap_line(self) -> tuple[float, float]:
        """Slope and intercept of the rows' gaps on their never-seen means, both in spreads (least squares)."""
        known = np.isfinite(self._gap)
        slope, intercept = np.polyfit((self.mean / self.spread)[known], (self._gap / self.spread)[known], 1)
        return float(slope), float(intercept)

    def shifts(self, parts: Sequence[Part], holdout: Sequence[Floats]) -> list[Shift]:
        """How a model that reads so on the holdout that goes with each part differs from the members."""
        found: dict[int, Shift] = {}
        for part, read in zip(parts, holdout, strict=True):
            if id(read) not in found:
                members = self.readings.holdout_of(part.subject) if self.readings.units else self.readings.holdout
                found[id(read)] = self.table.holdout(part.subject).shift(read, members.mean(0))
        return [found[id(read)] for read in holdout]

    def of_model(self, parts: Sequence[Part], rows: Sequence[Floats], holdout: Sequence[Floats]) -> Sums:
        """What a model's rows add, ``(n,)`` over all parts in their order.

        Args:
            parts: of a request.
            rows: the model's readings on each part's rows.
            holdout: its readings on the holdout that goes with each.

        Returns:
            The sums.
        """
        found = self.shifts(parts, holdout)
        at = np.concatenate([part.rows for part in parts])
        sizes = [len(part.rows) for part in parts]
        c0, c1, noise = (np.repeat([getattr(own, name) for own in found], sizes) for name in ("c0", "c1", "noise"))
        tilde = np.concatenate(list(rows)) - c0 * self.spread[at] - c1 * self.mean[at]
        folds = {kind: (total[:, at], count[:, at]) for kind, (total, count) in self._sums.items()}
        return self._add(tilde, noise, folds, self.spread[at])

    @cached_property
    def of_members(self) -> Sums:
        """What each subject adds to each member's score, everything computed without that member, ``(M, S)``."""
        subjects = len(self.values.positions)
        found = []
        for member, tilde in enumerate(self.tilde):
            fold, without = self._fold[member], dict[str, tuple[Floats, Floats]]()
            for kind, flags in (("never", self.never), ("seen", self.held)):
                total, count = (own.copy() for own in self._sums[kind])
                own = np.flatnonzero(flags[member])
                total[fold[own], own] -= tilde[own]
                count[fold[own], own] -= 1
                without[kind] = total, count
            sums = self._add(tilde, self._noise[member], without, self._spread_without(member))
            found.append(sums.by(self.values.owners, subjects))
        return Sums(*(np.stack([getattr(own, name) for own in found]) for name in Sums.__dataclass_fields__))

    def _add(self, tilde: Floats, noise: Floats, folds: dict[str, tuple[Floats, Floats]], spread: Floats) -> Sums:
        """What rows add, from the sums and numbers of the folds' readings, ``(FOLDS, n)`` each."""
        (never, n_never), (seen, n_seen) = folds["never"], folds["seen"]
        with np.errstate(divide="ignore", invalid="ignore"):  # a fold without such members adds nothing
            mu, nu = never / n_never, seen / n_seen
            apart = (seen.sum(0) - seen) / (n_seen.sum(0) - n_seen) - (never.sum(0) - never) / (
                n_never.sum(0) - n_never
            )
        usable = np.isfinite(mu) & np.isfinite(nu) & np.isfinite(apart)
        variance = np.square(spread)
        weight = np.where(usable, np.maximum(apart, self.table.gap_floor) / variance, 0.0)
        mu, nu, apart = (np.where(usable, own, 0.0) for own in (mu, nu, apart))
        score = (weight * (tilde - mu)).sum(0)
        unit = (weight * (nu - mu)).sum(0)
        shared = np.square(weight.sum(0) * noise) + (np.square(weight) / np.maximum(n_never, 1)).sum(0)
        return Sums(score, unit, variance * shared, (weight * np.maximum(apart, self.table.gap_floor)).sum(0))

    def scores(self, draws: Draws) -> Sums:
        """Each member's sums on its groups, ``(K,)`` each."""
        own = self.of_members
        return Sums(
            *(
                np.array(
                    [values[member, group].sum() for member, group in zip(draws.member, draws.subjects, strict=True)]
                )
                for values in (own.score, own.unit, own.noise, own.squared)
            )
        )


def _within(phi: Floats, held: Flags, never: Flags) -> tuple[Floats, Floats]:
    """Squares within both kinds of members, ``(N,)``, and what each member adds to them, ``(M, N)``."""
    within, added = np.zeros(phi.shape[1]), np.zeros(phi.shape)
    for kind in (held, never):
        count = np.maximum(kind.sum(0), 2.0)
        mean = np.where(kind, phi, 0.0).sum(0) / np.maximum(kind.sum(0), 1)
        squares = np.square(np.where(kind, phi - mean, 0.0))
        within += squares.sum(0)
        added += squares * count / (count - 1)
    return within, added


@lru_cache(maxsize=64)
def draws(split: SplitValues, usable: tuple[int, ...], rows: int, seen: bool) -> Draws:
    """Groups of subjects with as many rows as a request has, for each member ``DRAWS`` of them.

    Args:
        split: the references.
        usable: subjects that may be drawn.
        rows: of the request.
        seen: whether each member is given subjects that it held, or such as it never saw.

    Returns:
        The groups; where a member has not so many rows, a group is all that it has.
    """
    generator, every = np.random.default_rng([rows, seen]), np.asarray(usable)
    sizes = np.array([len(own) for own in split.positions])
    members, groups = [], []
    for member, keep in enumerate(split.keep):
        own = every[keep[every] == seen]
        for _ in range(DRAWS if len(own) else 0):
            order = generator.permutation(own)
            # A copy: a view would keep the order of all subjects.
            groups.append(order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), rows))].copy())
            members.append(member)
    return Draws(np.array(members), tuple(groups))


def rows_left_out(split: SplitValues, usable: Sequence[int]) -> int:
    """The largest group that every member can be scored on: the fewest rows that any of them never saw."""
    sizes = np.array([len(own) for own in split.positions])[list(usable)]
    return int((~split.keep[:, list(usable)] @ sizes).min())


@lru_cache(maxsize=16)
def group_table(split: SplitValues, table: Table) -> GroupTable:
    """The table of a split's signal, made once."""
    return GroupTable(split, table)


@dataclass(frozen=True, eq=False)
class Spread:
    """How groups of one size scatter, by one signal.

    Attributes:
        null: scores in units of their noise of members on groups that they never saw, ``(K,)``.
        seen: standard deviation of ``(score - unit)``, in units of its noise, of members on groups that they held.
    """

    null: Floats
    seen: float

    @property
    def sd(self) -> float:
        """Root mean square of the null, about 0: the score of a model that never saw a group has no bias to take off."""
        return float(np.sqrt(np.square(self.null).mean()))


@lru_cache(maxsize=256)
def spread(table: GroupTable, never: Draws, seen: Draws) -> Spread:
    """How groups scatter; made once for all requests of a size."""
    own = table.scores(seen)
    apart = (own.score - own.unit) / np.sqrt(own.noise)
    return Spread(table.scores(never).scaled, float(np.sqrt(np.square(apart).mean())))
