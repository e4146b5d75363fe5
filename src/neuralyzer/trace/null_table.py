"""The null table of one signal on one split of the references: all that does not depend on the model under test."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neuralyzer.references.signal_values import ErasedNull, Flags, Floats, Part, SplitValues
from neuralyzer.trace import moments as _moments
from neuralyzer.trace.estimate import Gap, gap, score
from neuralyzer.trace.moments import Moments, floored
from neuralyzer.trace.prediction import Holdout
from neuralyzer.trace.scale import Prior, prior

SMALLEST_GAP = 0.05  # of the mean absolute gap over all rows
FEWEST_NEVER = 6  # members that must never have seen a subject; a balanced design has at least as many
MOST_SUBJECTS = 1000  # of the null: with six scores each, its quantile is known to a fraction of a per cent


@dataclass(frozen=True)
class Contrast:
    """The difference that training on a part's rows makes to a signal.

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
    """A contrast with the part's scores under the null.

    Attributes:
        members: numbers of the members that never saw the subject, ``(n_never,)``.
        scores: score of each of them, everything recomputed without it, ``(n_never,)``.
        seen_variance: variance of the same scores among the members that saw the subject.
        seen_members: numbers of the members that saw it, ``(n_seen,)``.
        seen_scores: weighted excess of each of these over the others, ``(n_seen,)``.
    """

    members: np.ndarray
    scores: Floats
    seen_variance: float
    seen_members: np.ndarray
    seen_scores: Floats

    @classmethod
    def of_erased(cls, kept: ErasedNull) -> "Null":
        """Return the null of an erased subject: its scores are kept, its rows are not, so no model is tested on it."""
        none = np.empty(0)
        moments = Moments(none, none, none, none, none)
        scores, gap_ = np.asarray(kept.scores), Gap(none, kept.norm, 0, kept.unit)
        return cls(moments, gap_, none, none, none, scores, kept.seen_variance, none, none)


class NullTable:
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
        unfloored = [self._moments(Part(subject, split.positions[subject])) for subject in self.subjects]
        spreads = [moments.spread for moments in unfloored]
        self.spread_floor = _moments.smallest_spread(np.concatenate(spreads)) if spreads else 0.0
        if not self.spread_floor or not self.readings.holdout.std(0).any():
            self.subjects, self.readable = [], frozenset()  # a signal by which no two members differ says nothing
            return
        self.gap_floor = SMALLEST_GAP * float(np.abs(np.concatenate([m.seen - m.never for m in unfloored])).mean())

    def __contains__(self, subject: int) -> bool:
        return subject in self.readable

    def _readable(self) -> frozenset[int]:
        """Return the subjects that can be read: seen and left out by enough members, with values on all rows."""
        split, finite = self.values, np.all(np.isfinite(self.readings.rows), axis=0)
        never, saw = np.sum(~split.keep, axis=0), np.sum(split.keep, axis=0)
        return frozenset(
            subject
            for subject, rows in enumerate(split.positions)
            if len(rows)
            and self.readings.reads(subject)
            and never[subject] >= FEWEST_NEVER
            and finite[rows].all()
            and (saw[subject] if split.held is None else split.rows_held(subject, rows).sum(0).min()) >= 2
        )

    def _sample(self) -> list[int]:
        """Return the subjects that the null is estimated from: all, or ``MOST_SUBJECTS``, the same for every signal."""
        if len(self.readable) <= MOST_SUBJECTS:
            return sorted(self.readable)
        # One draw per subject: the erasure of some changes the draw of no other.
        draw = np.random.default_rng(0).random((self.values.keep.shape[1],))
        by_all = {s: all(signal.reads(s) for signal in self.values.signals.values()) for s in self.readable}
        return sorted(sorted(self.readable, key=lambda s: (not by_all[s], draw[s]))[:MOST_SUBJECTS])

    def _never_seen(self, part: Part) -> tuple[Flags, Flags, Flags]:
        """Split the members by whether they saw a part.

        Returns:
            Which members never saw the part and are comparable on some of its rows, ``(M,)``; which saw it, ``(M,)``;
            and on which rows the former are comparable, ``(n_never, n)``.
        """
        comparable = self.values.comparable(part.subject, part.rows)
        never = np.asarray(comparable.any(1))
        return never, self.values.keep[:, part.subject], comparable[never]

    def _moments(self, part: Part) -> Moments:
        never, saw, comparable = self._never_seen(part)
        phi = self.readings.rows[:, part.rows]
        return _moments.moments(
            phi[never], phi[saw], self.values.rows_held(part.subject, part.rows), comparable=comparable
        )

    def holdout(self, subject: int) -> Holdout:
        """Return mean and spread of all members on the holdout that goes with ``subject``."""
        values = self.readings.holdout_of(subject)
        return self.holdout_all if values is self.readings.holdout else _holdout(values)

    @cached_property
    def holdout_all(self) -> Holdout:
        """Return mean and spread of all members on the holdout that all subjects share."""
        return _holdout(self.readings.holdout)

    def contrast(self, part: Part) -> Contrast:
        """Return the contrast of a part: all that an estimate of the trace needs, without the null for its error."""
        return self._contrast(part, *self._never_seen(part))

    def _contrast(self, part: Part, never: Flags, saw: Flags, comparable: Flags) -> Contrast:
        phi, holdout_phi = self.readings.rows[:, part.rows], self.readings.holdout_of(part.subject)
        held = self.values.rows_held(part.subject, part.rows)
        moments = _moments.moments(phi[never], phi[saw], held, self.spread_floor, comparable)
        seen_mean, never_mean = holdout_phi[saw].mean(0), holdout_phi[never].mean(0)
        fitted = gap(moments, self.holdout(part.subject), seen_mean, never_mean, self.gap_floor)
        return Contrast(moments, fitted, never_mean, seen_mean)

    def null(self, part: Part) -> Null:
        """Return the null of a part: each member that never saw it is scored with everything recomputed without it.

        In a pool with groups, a member that lacks the class of some rows is scored on the other rows alone.

        Args:
            part: the rows.

        Returns:
            The scores and the contrast.
        """
        never, saw, comparable = self._never_seen(part)
        phi, holdout_phi = self.readings.rows[:, part.rows], self.readings.holdout_of(part.subject)
        held, holdout = self.values.rows_held(part.subject, part.rows), self.holdout(part.subject)
        contrast = self._contrast(part, never, saw, comparable)
        count, total = int(never.sum()), holdout_phi[never].sum(0)
        without = _moments.without_each(phi[never], phi[saw], held, self.spread_floor, comparable)
        means = (total - holdout_phi[never]) / (count - 1)
        gaps = gap(without, holdout, contrast.seen, means, self.gap_floor, comparable)
        scores = score(phi[never], without, holdout.shift(holdout_phi[never], means), gaps)
        seen_members, excess = self._seen_scores(part, contrast)
        return Null(
            contrast.moments, contrast.gap, contrast.never, contrast.seen, np.flatnonzero(never), scores,
            float(np.var(excess, ddof=1)), seen_members, excess,
        )  # fmt: skip

    def _seen_scores(self, part: Part, contrast: Contrast) -> tuple[np.ndarray, Floats]:
        """Return the weighted excess of each member that saw the subject over the other members that saw it.

        Its variance is ``u``, from which the scale is predicted. In a pool with groups, a member that lacks some of the
        rows is scored on those that it held.

        Returns:
            Numbers of the members, and their excess.
        """
        saw, moments, weights = self.values.keep[:, part.subject], contrast.moments, contrast.gap.weights
        held = self.values.rows_held(part.subject, part.rows)
        phi, holdout_phi = self.readings.rows[:, part.rows][saw], self.readings.holdout_of(part.subject)[saw]
        holds_some, count = held.any(1), held.sum(0)
        total = np.where(held, phi, 0.0).sum(0)
        shift = self.holdout(part.subject).shift(holdout_phi, contrast.never).on(moments.never, moments.spread)
        apart = np.where(held, phi - (total - phi) / (count - 1) - shift, 0.0)
        squares = np.square(weights * moments.spread)
        norms = np.sqrt((held * squares).sum(1)[holds_some])
        return np.flatnonzero(saw)[holds_some], (apart[holds_some] * weights).sum(1) / norms

    @cached_property
    def nulls(self) -> dict[int, Null]:
        """Return the null of each subject that the null is estimated from."""
        return {subject: self.null(Part(subject, self.values.positions[subject])) for subject in self.subjects}

    @cached_property
    def all_nulls(self) -> dict[int, Null]:
        """Return ``nulls`` with those of erased subjects, so that erasures do not make the null smaller."""
        erased = self.values.erased_nulls.get(self.signal, {})
        return self.nulls | {
            subject: Null.of_erased(kept) for subject, kept in erased.items() if subject not in self.nulls
        }

    @cached_property
    def centre(self) -> float:
        """Return the mean of all null scores of all subjects."""
        return float(np.concatenate([null.scores for null in self.all_nulls.values()]).mean())

    @cached_property
    def prior(self) -> Prior:
        """Return the prior of the subjects' score variances."""
        nulls = list(self.all_nulls.values())
        return prior(
            np.array([np.var(null.scores, ddof=1) for null in nulls]),
            np.array([len(null.scores) - 1.0 for null in nulls]),
            np.array([null.seen_variance for null in nulls]),
        )

    def sd(self, null: Null) -> float:
        """Return the shrunk standard deviation of a part's scores."""
        variance = float(np.var(null.scores, ddof=1))
        return float(np.sqrt(self.prior.shrink(variance, len(null.scores) - 1, np.array(null.seen_variance))))

    def sensitivity(self, subject: int) -> float:
        """Return the score of a subject's whole trace in standard deviations of null scores: ``D / (sd |d|)``."""
        return self.sensitivity_of([self.all_nulls.get(subject) or self.null_of(subject)])

    def sensitivity_of(self, nulls: Sequence[Null]) -> float:
        """Return the sensitivity to several parts together: ``sum D / |(sd |d|)|``."""
        spread = np.sqrt(sum((self.sd(null) * null.gap.norm) ** 2 for null in nulls))
        return float(sum(null.gap.unit for null in nulls) / spread)

    def null_z(self, null: Null) -> Floats:
        """Return each null score as z, its scale computed without it, ``(n_never,)``."""
        count, apart = len(null.scores), null.scores - null.scores.mean()
        # The variance of the others, from that of all and a score's own distance.
        variance = np.maximum((apart @ apart) - np.square(apart) * count / (count - 1), 0.0) / (count - 2)
        shrunk = self.prior.shrink(variance, count - 2, np.array(null.seen_variance))
        return np.asarray((null.scores - self.centre) / np.sqrt(shrunk))

    @cached_property
    def subject_z(self) -> dict[int, Floats]:
        """Return the null z of each subject, in the order of the members that never saw it."""
        return {subject: self.null_z(null) for subject, null in self.all_nulls.items()}

    @cached_property
    def pooled(self) -> Floats:
        """Return all null ``|z|`` of all subjects."""
        return np.asarray(np.abs(np.concatenate(list(self.subject_z.values()))))

    @cached_property
    def critical(self) -> float:
        """Return the quantile of the pooled null ``|z|`` at ``1 - level``."""
        return float(np.quantile(self.pooled, 1 - self.level))

    def null_of(self, subject: int) -> Null:
        """Return a whole subject's null; cached."""
        known = self.nulls.get(subject) or self._others.get(subject)
        if known is None:
            known = self._others[subject] = self.null(Part(subject, self.values.positions[subject]))
        return known

    def parts_null(self, parts: Sequence[Part]) -> list[Null]:
        """Return the nulls of a request's parts; those of whole subjects come from the cache."""
        return [
            self.null_of(part.subject)
            if part.subject in self.readable and np.array_equal(part.rows, self.values.positions[part.subject])
            else self.null(part)
            for part in parts
        ]


def _holdout(readings: Floats) -> Holdout:
    return Holdout(readings.mean(0), floored(readings.std(0, ddof=1)))
