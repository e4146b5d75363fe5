"""One signal on a request of many subjects: cross-fitted weights, and a null of groups of the request's size.

If a row's weight and its expected value came from the same members' mean, the error of that mean would enter both, and
over hundreds of rows this small bias would dominate. So the members are cut into folds. A row's weight comes from all
folds but one; its expected value and unit come from that one; and the sums over the folds are added (cross-fitting,
Chernozhukov et al. 2018, arXiv 1608.00060, definition 3.2). With weights ``w_f``, a model's signal value ``y``, and the
means ``mu_f`` and ``nu_f`` over the members of fold ``f`` that never held and that held a row:

    score = sum_f w_f (y - mu_f)        unit = sum_f w_f (nu_f - mu_f)        trace = score / unit

The spread of scores among models that never saw a group is estimated from groups of the same size: each member is
scored on subjects that it never saw, everything computed without it. The spread among models that saw it is estimated
from subjects that the members held. Nothing is assumed about how subjects or members depend on each other. Decision 31
has the measurements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats, Indices, Part, SplitValues
from neuralyzer.trace import moments as _moments
from neuralyzer.trace.estimate import SMALLEST_UNIT
from neuralyzer.trace.null_table import NullTable
from neuralyzer.trace.prediction import Shift, leave_one_out_shifts

FOLDS = 3  # so that each fold has at least two of the six members that never saw a subject
DRAWS = 32  # groups that each member is scored on


@dataclass(frozen=True)
class Sums:
    """The terms that rows or subjects add to a group's score, each ``(..., n)``; a group's terms are their sums.

    Attributes:
        score: weighted excess over the expected signal value.
        unit: the score expected of a model that saw the rows.
        noise: variance of the score if rows were independent.
        naive_unit: ``unit`` without cross-fitting, from the members that the weights came from; biased upwards.
    """

    score: Floats
    unit: Floats
    noise: Floats
    naive_unit: Floats

    def total(self) -> "Sums":
        """Return the sums over all rows."""
        return Sums(*(np.asarray(terms.sum(-1)) for terms in self._fields))

    def by(self, group: Indices, count: int) -> "Sums":
        """Return the sums by subject, ``(count,)`` each; ``group (n,)`` is the number of each row's subject."""
        return Sums(*(np.bincount(group, terms, count).astype(float) for terms in self._fields))

    @property
    def _fields(self) -> tuple[Floats, Floats, Floats, Floats]:
        return self.score, self.unit, self.noise, self.naive_unit

    @property
    def standardised(self) -> Floats:
        """Return the score in units of its noise."""
        return np.asarray(self.score / np.sqrt(self.noise))

    @property
    def floored_unit(self) -> Floats:
        """Return the unit, at least ``SMALLEST_UNIT`` of its naive value."""
        return np.maximum(self.unit, SMALLEST_UNIT * self.naive_unit)


@dataclass(frozen=True, eq=False)
class Draws:
    """``K`` groups of subjects: the member that each is scored for, ``member (K,)``, and the subjects of each."""

    member: Indices
    subjects: tuple[Indices, ...]


class GroupTable:
    """One signal on one split, prepared for requests of many subjects.

    Args:
        split: the references.
        table: null table of the same signal; gives the floors and the holdout.
    """

    def __init__(self, split: SplitValues, table: NullTable) -> None:
        self.values, self.table, self.readings = split, table, split.signals[table.signal]
        self.held: Flags = split.rows_held_by
        self.never: Flags = split.comparable_members
        phi = np.nan_to_num(self.readings.rows)
        moments = _moments.moments(phi, phi, self.held, table.spread_floor, self.never)
        self.mean, self.spread, self._gap = moments.never, moments.spread, moments.seen - moments.never
        self._squares, self._member_squares = _squares_within(phi, self.held, self.never)
        self._noise = np.ones(phi.shape)
        self.cleared = phi - self._expected()
        self._fold = np.where(self.held, np.cumsum(self.held, 0), np.cumsum(self.never, 0)) % FOLDS
        self._sums = {kind: self._fold_sums(flags) for kind, flags in (("never", self.never), ("seen", self.held))}

    def _expected(self) -> Floats:
        """Return each member's expected shift on each row, fitted on its holdout; set its noise in ``_noise``."""
        expected = np.zeros(self._noise.shape)
        for rows, holdout in self._holdouts():
            for member, shift in enumerate(leave_one_out_shifts(holdout)):
                expected[member, rows] = shift.on(self.mean[rows], self.spread[rows])
                self._noise[member, rows] = shift.noise
        return expected

    def _holdouts(self) -> list[tuple[Indices, Floats]]:
        """Return the rows that share a holdout, and the members' signal values on it, for each such holdout."""
        if self.readings.units is None:
            return [(np.arange(self.readings.rows.shape[1]), self.readings.holdout)]
        return [
            (self.values.positions[subject], self.readings.holdout_of(subject))
            for subject in sorted(self.table.readable)
        ]

    def _spread_without(self, member: int) -> Floats:
        """Return the spread within both kinds of members, computed without one member, ``(N,)``."""
        freedom = self.never.sum(0) + self.held.sum(0) - 3.0
        variance = np.maximum(self._squares - self._member_squares[member], 0.0) / freedom
        return np.asarray(np.maximum(np.sqrt(variance), self.table.spread_floor))

    def _fold_sums(self, flags: Flags) -> tuple[Floats, Floats]:
        """Return sum and number of the cleared signal values in each fold, ``(FOLDS, N)`` each."""
        inside = [flags & (self._fold == fold) for fold in range(FOLDS)]
        return (
            np.stack([np.where(in_fold, self.cleared, 0.0).sum(0) for in_fold in inside]),
            np.stack([in_fold.sum(0).astype(float) for in_fold in inside]),
        )

    @cached_property
    def gap_line(self) -> tuple[float, float]:
        """Return slope and intercept of the rows' gaps on their never-seen means, both in spreads (least squares)."""
        known = np.isfinite(self._gap)
        slope, intercept = np.polyfit((self.mean / self.spread)[known], (self._gap / self.spread)[known], 1)
        return float(slope), float(intercept)

    def shifts(self, parts: Sequence[Part], holdout: Sequence[Floats]) -> list[Shift]:
        """Fit a model's shift against the members, from its signal values on each part's holdout."""
        fitted: dict[int, Shift] = {}  # parts that share a holdout share its array
        for part, values in zip(parts, holdout, strict=True):
            if id(values) not in fitted:
                members = self.readings.holdout_of(part.subject) if self.readings.units else self.readings.holdout
                fitted[id(values)] = self.table.holdout(part.subject).shift(values, members.mean(0))
        return [fitted[id(values)] for values in holdout]

    def of_model(self, parts: Sequence[Part], rows: Sequence[Floats], holdout: Sequence[Floats]) -> Sums:
        """Return the terms that each row adds to a model's score, ``(n,)`` over all parts in their order.

        Args:
            parts: the request's rows by subject.
            rows: the model's signal values on each part's rows.
            holdout: its signal values on each part's holdout.

        Returns:
            The terms.
        """
        fitted = self.shifts(parts, holdout)
        at = np.concatenate([part.rows for part in parts])
        sizes = [len(part.rows) for part in parts]
        c0, c1, noise = (np.repeat([getattr(shift, name) for shift in fitted], sizes) for name in ("c0", "c1", "noise"))
        cleared = np.concatenate(list(rows)) - c0 * self.spread[at] - c1 * self.mean[at]
        folds = {kind: (total[:, at], count[:, at]) for kind, (total, count) in self._sums.items()}
        return self._terms(cleared, noise, folds, self.spread[at])

    @cached_property
    def of_members(self) -> Sums:
        """Return the terms each subject adds to each member's score, computed without that member, ``(M, S)``."""
        subjects = len(self.values.positions)
        by_member = []
        for member, cleared in enumerate(self.cleared):
            fold, without = self._fold[member], dict[str, tuple[Floats, Floats]]()
            for kind, flags in (("never", self.never), ("seen", self.held)):
                total, count = (values.copy() for values in self._sums[kind])
                rows = np.flatnonzero(flags[member])
                total[fold[rows], rows] -= cleared[rows]
                count[fold[rows], rows] -= 1
                without[kind] = total, count
            terms = self._terms(cleared, self._noise[member], without, self._spread_without(member))
            by_member.append(terms.by(self.values.owners, subjects))
        return Sums(*(np.stack([getattr(sums, name) for sums in by_member]) for name in Sums.__dataclass_fields__))

    def _terms(self, cleared: Floats, noise: Floats, folds: dict[str, tuple[Floats, Floats]], spread: Floats) -> Sums:
        """Return each row's terms, from sum and number of the signal values in each fold, ``(FOLDS, n)`` each."""
        (never, n_never), (seen, n_seen) = folds["never"], folds["seen"]
        with np.errstate(divide="ignore", invalid="ignore"):  # a fold without such members adds nothing
            mu, nu = never / n_never, seen / n_seen
            gap = (seen.sum(0) - seen) / (n_seen.sum(0) - n_seen) - (never.sum(0) - never) / (n_never.sum(0) - n_never)
        usable = np.isfinite(mu) & np.isfinite(nu) & np.isfinite(gap)
        variance = np.square(spread)
        weight = np.where(usable, np.maximum(gap, self.table.gap_floor) / variance, 0.0)
        mu, nu, gap = (np.where(usable, values, 0.0) for values in (mu, nu, gap))
        score = (weight * (cleared - mu)).sum(0)
        unit = (weight * (nu - mu)).sum(0)
        shared = np.square(weight.sum(0) * noise) + (np.square(weight) / np.maximum(n_never, 1)).sum(0)
        return Sums(score, unit, variance * shared, (weight * np.maximum(gap, self.table.gap_floor)).sum(0))

    def scores(self, draws: Draws) -> Sums:
        """Return each member's sums on its groups, ``(K,)`` each."""
        pairs = list(zip(draws.member, draws.subjects, strict=True))
        return Sums(
            *(np.array([values[member, group].sum() for member, group in pairs]) for values in self.of_members._fields)
        )


def _squares_within(phi: Floats, held: Flags, never: Flags) -> tuple[Floats, Floats]:
    """Return the sums of squares within both kinds of members, ``(N,)``, and each member's share of it, ``(M, N)``."""
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
    """Draw ``DRAWS`` groups of subjects for each member, each with as many rows as a request has.

    Args:
        split: the references.
        usable: subjects that may be drawn.
        rows: of the request.
        seen: whether each member gets subjects that it held (true) or that it never saw (false).

    Returns:
        The groups; where a member has fewer rows than the request, a group is all of them.
    """
    generator, every = np.random.default_rng([rows, seen]), np.asarray(usable)
    sizes = np.array([len(rows_of) for rows_of in split.positions])
    members, groups = [], []
    for member, keep in enumerate(split.keep):
        drawable = every[keep[every] == seen]
        for _ in range(DRAWS if len(drawable) else 0):
            order = generator.permutation(drawable)
            # A copy: a view would keep the order of all subjects.
            groups.append(order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), rows))].copy())
            members.append(member)
    return Draws(np.array(members), tuple(groups))


def rows_left_out(split: SplitValues, usable: Sequence[int]) -> int:
    """Return the rows of the largest group that every member can be scored on: the fewest that any of them lacks."""
    sizes = np.array([len(rows) for rows in split.positions])[list(usable)]
    return int((~split.keep[:, list(usable)] @ sizes).min())


@lru_cache(maxsize=16)
def group_table(split: SplitValues, table: NullTable) -> GroupTable:
    """Return the group table of a split's signal; cached."""
    return GroupTable(split, table)


@dataclass(frozen=True, eq=False)
class Spread:
    """The spread of one signal's scores on groups of one size.

    Attributes:
        null: scores of members on groups that they never saw, in units of their noise, ``(K,)``.
        seen: standard deviation of ``score - unit`` of members on groups that they held, in units of its noise.
    """

    null: Floats
    seen: float

    @property
    def sd(self) -> float:
        """Return the root mean square of the null about 0: cross-fitted scores have no bias to subtract."""
        return float(np.sqrt(np.square(self.null).mean()))


@lru_cache(maxsize=256)
def spread(table: GroupTable, never: Draws, seen: Draws) -> Spread:
    """Return the spread of scores on groups; cached, since all requests of a size share it."""
    sums = table.scores(seen)
    excess = (sums.score - sums.unit) / np.sqrt(sums.noise)
    return Spread(table.scores(never).standardised, float(np.sqrt(np.square(excess).mean())))
