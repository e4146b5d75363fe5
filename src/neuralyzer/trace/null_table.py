"""One signal on one half of the references: everything that does not depend on the model under test."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats, Part, Remembered, SplitValues
from neuralyzer.trace import moments as _moments
from neuralyzer.trace.estimate import Gap, gap, score
from neuralyzer.trace.moments import Moments, floored
from neuralyzer.trace.prediction import Holdout
from neuralyzer.trace.scale import Prior, prior

SMALLEST_GAP = 0.05  # of the mean absolute gap over all rows
FEWEST_NEVER = 6  # members that must have left a subject out
MOST_SUBJECTS = 1000  # that the null is learned from: six scores each place its quantile to a fraction of a per cent


@dataclass(frozen=True)
class Contrast:
    """What having seen a part does to a signal.

    Attributes:
        moments: on the part's rows.
        gap: of the part.
        never: holdout mean over the members that never saw the subject, ``(H,)``.
        seen: the same mean over those that saw it.
    """

    moments: Moments
    gap: Gap
    never: Floats
    seen: Floats


@dataclass(frozen=True)
class Null(Contrast):
    """A contrast with the part's scores under the null and what follows from them.

    Attributes:
        members: which members those are, ``(n_never,)``.
        scores: each of their scores, everything recomputed without it, ``(n_never,)``.
        seen_variance: variance of the same scores among the members that saw the subject.
        seen_members: which members those are, ``(n_seen,)``.
        seen_scores: their weighted excess over one another, ``(n_seen,)``.
    """

    members: np.ndarray
    scores: Floats
    seen_variance: float
    seen_members: np.ndarray
    seen_scores: Floats

    @classmethod
    def of(cls, own: Remembered) -> "Null":
        """The null of an erased subject: no row of it is left to test a model on, its scores are."""
        none = np.empty(0)
        moments = Moments(none, none, none, none, none)
        scores = np.asarray(own.scores)
        return cls(moments, Gap(none, own.norm, 0, own.unit), none, none, none, scores, own.seen_variance, none, none)


class Table:
    """The null distribution of one signal over all subjects of a split.

    Args:
        split: the references.
        signal: name of the signal.
        level: error rate of the critical value.
    """

    def __init__(self, split: SplitValues, signal: str, level: float = 0.05) -> None:
        self.values, self.signal, self.readings, self.level = split, signal, split.signals[signal], level
        self._others: dict[int, Null] = {}
        self.readable = self._readable()
        self.subjects = self._sample()
        plain = [self._moments(Part(subject, split.positions[subject])) for subject in self.subjects]
        self.spread_floor = _moments.smallest_spread(np.concatenate([m.spread for m in plain])) if plain else 0.0
        if not self.spread_floor or not self.readings.holdout.std(0).any():
            self.subjects, self.readable = [], frozenset()  # a signal by which no two members differ says nothing
            return
        self.gap_floor = SMALLEST_GAP * float(np.abs(np.concatenate([m.seen - m.never for m in plain])).mean())

    def __contains__(self, subject: int) -> bool:
        return subject in self.readable

    def _readable(self) -> frozenset[int]:
        """Subjects that can be read: left out and seen by enough members, with readings on all of their rows."""
        split, finite = self.values, np.all(np.isfinite(self.readings.rows), axis=0)
        never, saw = np.sum(~split.keep, axis=0), np.sum(split.keep, axis=0)
        return frozenset(
            subject
            for subject, own in enumerate(split.positions)
            if len(own)
            and self.readings.reads(subject)
            and never[subject] >= FEWEST_NEVER
            and finite[own].all()
            and (saw[subject] if split.held is None else split.rows_held(subject, own).sum(0).min()) >= 2
        )

    def _sample(self) -> list[int]:
        """Those that the null is learned from: all, or as many as are enough, the same ones by every signal."""
        if len(self.readable) <= MOST_SUBJECTS:
            return sorted(self.readable)
        # Each subject's place in the draw is its own: the erasure of some moves no other.
        draw = np.random.default_rng(0).random((self.values.keep.shape[1],))
        whole = {s: all(own.reads(s) for own in self.values.signals.values()) for s in self.readable}
        return sorted(sorted(self.readable, key=lambda s: (not whole[s], draw[s]))[:MOST_SUBJECTS])

    def _never_seen(self, part: Part) -> tuple[Flags, Flags, Flags]:
        """Who never saw the part and is asked about some of its rows, who saw it, and which rows the former are asked."""
        asked = self.values.asked(part.subject, part.rows)
        never = np.asarray(asked.any(1))
        return never, self.values.keep[:, part.subject], asked[never]

    def _moments(self, part: Part) -> Moments:
        never, saw, asked = self._never_seen(part)
        phi = self.readings.rows[:, part.rows]
        return _moments.moments(phi[never], phi[saw], self.values.rows_held(part.subject, part.rows), asked=asked)

    def holdout(self, subject: int) -> Holdout:
        """Mean and spread of all members on the holdout that goes with ``subject``."""
        own = self.readings.holdout_of(subject)
        return self.holdout_all if own is self.readings.holdout else _holdout(own)

    @cached_property
    def holdout_all(self) -> Holdout:
        """Mean and spread on the holdout where all subjects share one."""
        return _holdout(self.readings.holdout)

    def contrast(self, part: Part) -> Contrast:
        """What having seen a part does: what a trace is measured by, without the null that tells its error."""
        return self._contrast(part, *self._never_seen(part))

    def _contrast(self, part: Part, never: Flags, saw: Flags, asked: Flags) -> Contrast:
        phi, outside = self.readings.rows[:, part.rows], self.readings.holdout_of(part.subject)
        held = self.values.rows_held(part.subject, part.rows)
        whole = _moments.moments(phi[never], phi[saw], held, self.spread_floor, asked)
        seen_mean, never_mean = outside[saw].mean(0), outside[never].mean(0)
        found = gap(whole, self.holdout(part.subject), seen_mean, never_mean, self.gap_floor)
        return Contrast(whole, found, never_mean, seen_mean)

    def null(self, part: Part) -> Null:
        """The null scores of a part: each member that never saw it is tested with everything recomputed without it.

        A member that lacks the class of some rows, as members of a pool with groups do, is tested on the others.

        Args:
            part: the rows.

        Returns:
            The scores and what they rest on.
        """
        never, saw, asked = self._never_seen(part)
        phi, holdout_phi = self.readings.rows[:, part.rows], self.readings.holdout_of(part.subject)
        held, holdout = self.values.rows_held(part.subject, part.rows), self.holdout(part.subject)
        own = self._contrast(part, never, saw, asked)
        count, total = int(never.sum()), holdout_phi[never].sum(0)
        without = _moments.without_each(phi[never], phi[saw], held, self.spread_floor, asked)
        means = (total - holdout_phi[never]) / (count - 1)
        gaps = gap(without, holdout, own.seen, means, self.gap_floor, asked)
        scores = score(phi[never], without, holdout.shift(holdout_phi[never], means), gaps)
        who, excess = self._seen_scores(part, own)
        variance = float(np.var(excess, ddof=1))
        return Null(own.moments, own.gap, own.never, own.seen, np.flatnonzero(never), scores, variance, who, excess)

    def _seen_scores(self, part: Part, own: Contrast) -> tuple[np.ndarray, Floats]:
        """The weighted excess over one another of the members that saw the subject; its variance is ``u``.

        A member that lacks some of the rows, as members of a pool with groups do, is read on those that it held.

        Returns:
            Which members, and their excess.
        """
        saw = self.values.keep[:, part.subject]
        held = self.values.rows_held(part.subject, part.rows)
        phi, outside = self.readings.rows[:, part.rows][saw], self.readings.holdout_of(part.subject)[saw]
        any_, count = held.any(1), held.sum(0)
        total = np.where(held, phi, 0.0).sum(0)
        shift = self.holdout(part.subject).shift(outside, own.never).on(own.moments.never, own.moments.spread)
        apart = np.where(held, phi - (total - phi) / (count - 1) - shift, 0.0)
        squares = np.square(own.gap.weights * own.moments.spread)
        norms = np.sqrt((held * squares).sum(1)[any_])
        return np.flatnonzero(saw)[any_], (apart[any_] * own.gap.weights).sum(1) / norms

    @cached_property
    def nulls(self) -> dict[int, Null]:
        """Each whole subject's null."""
        return {subject: self.null(Part(subject, self.values.positions[subject])) for subject in self.subjects}

    @cached_property
    def everyone(self) -> dict[int, Null]:
        """Each whole subject's null, with those of subjects that were erased: how models lie apart is learned from all that ever were."""
        erased = self.values.remembered.get(self.signal, {})
        return self.nulls | {subject: Null.of(own) for subject, own in erased.items() if subject not in self.nulls}

    @cached_property
    def centre(self) -> float:
        """Mean of all null scores of all subjects."""
        return float(np.concatenate([null.scores for null in self.everyone.values()]).mean())

    @cached_property
    def prior(self) -> Prior:
        """Prior of the subjects' score variances."""
        nulls = list(self.everyone.values())
        return prior(
            np.array([np.var(null.scores, ddof=1) for null in nulls]),
            np.array([len(null.scores) - 1.0 for null in nulls]),
            np.array([null.seen_variance for null in nulls]),
        )

    def sd(self, null: Null) -> float:
        """Shrunk standard deviation of a part's scores."""
        variance = float(np.var(null.scores, ddof=1))
        return float(np.sqrt(self.prior.shrink(variance, len(null.scores) - 1, np.array(null.seen_variance))))

    def sensitivity(self, subject: int) -> float:
        """The score that a whole subject's trace is worth, in standard deviations of scores: ``D / (sd |d|)``."""
        return self.sensitivity_of([self.everyone.get(subject) or self.null_of(subject)])

    def sensitivity_of(self, nulls: Sequence[Null]) -> float:
        """The same of several parts together: ``sum D / |(sd |d|)|``."""
        spread = np.sqrt(sum((self.sd(null) * null.gap.norm) ** 2 for null in nulls))
        return float(sum(null.gap.unit for null in nulls) / spread)

    def null_z(self, null: Null) -> Floats:
        """Each null score as z, its scale computed without it, ``(n_never,)``."""
        count, apart = len(null.scores), null.scores - null.scores.mean()
        # The variance of the others, from that of all and a score's own distance.
        variance = np.maximum((apart @ apart) - np.square(apart) * count / (count - 1), 0.0) / (count - 2)
        shrunk = self.prior.shrink(variance, count - 2, np.array(null.seen_variance))
        return np.asarray((null.scores - self.centre) / np.sqrt(shrunk))

    @cached_property
    def subject_z(self) -> dict[int, Floats]:
        """Null z of each whole subject, in the order of its left-out members."""
        return {subject: self.null_z(null) for subject, null in self.everyone.items()}

    @cached_property
    def pooled(self) -> Floats:
        """All null ``|z|`` of all subjects."""
        return np.asarray(np.abs(np.concatenate(list(self.subject_z.values()))))

    @cached_property
    def critical(self) -> float:
        """The quantile of the pooled null ``|z|`` at ``1 - level``."""
        return float(np.quantile(self.pooled, 1 - self.level))

    def null_of(self, subject: int) -> Null:
        """A whole subject's null, computed once."""
        known = self.nulls.get(subject) or self._others.get(subject)
        if known is None:
            known = self._others[subject] = self.null(Part(subject, self.values.positions[subject]))
        return known

    def parts_null(self, parts: Sequence[Part]) -> list[Null]:
        """The nulls of a request's parts; whole subjects' are not computed twice."""
        return [
            self.null_of(part.subject)
            if part.subject in self.readable and np.array_equal(part.rows, self.values.positions[part.subject])
            else self.null(part)
            for part in parts
        ]


def _holdout(readings: Floats) -> Holdout:
    return Holdout(readings.mean(0), floored(readings.std(0, ddof=1)))
