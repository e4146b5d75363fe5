"""The signal values of the reference models of one split, and which rows each of them held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

FEWEST_COMPARABLE = 3  # members on which a never-seen mean rests; with fewer, all that never saw the subject count


@dataclass(frozen=True)
class SignalValues:
    """One signal's values for ``M`` members.

    Attributes:
        rows: on the ``N`` training rows, ``(M, N)``; NaN where the signal has no value (relearning of small subjects).
        holdout: on the ``H`` holdout rows, ``(M, H)``; or ``(M, U, H)`` where each of ``U`` units has its own.
        units: index of each unit's subject in ``holdout``; None where all share one.
        groups: group of each holdout row, as a subject ``(H,)``; -1 for none. None where there are no groups.
        read: the measured values, where ``holdout`` has imputed ones; of the same shape.
    """

    rows: Floats
    holdout: Floats
    units: Mapping[int, int] | None = None
    groups: Indices | None = None
    read: Floats | None = None

    def reads(self, subject: int) -> bool:
        """Return whether the signal has a value for a subject."""
        return self.units is None or subject in self.units

    def holdout_of(self, subject: int) -> Floats:
        """Return the holdout values of a subject, ``(M, H)``; for a group, the measured values on its own rows."""
        if self.units is not None:
            return self.holdout[:, self.units[subject]]
        if self.groups is None or self.read is None or subject not in self.groups:
            return self.holdout
        return np.where(self.groups == subject, self.read, self.holdout)

    def on_holdout(self, rows: Indices) -> "SignalValues":
        """Return these values on some of the holdout rows."""
        groups = None if self.groups is None else self.groups[rows]
        read = None if self.read is None else self.read[..., rows]
        return replace(self, holdout=self.holdout[..., rows], groups=groups, read=read)

    def filled(self, keep: Flags, groups: Indices) -> "SignalValues":
        """Impute the holdout values of groups that a member lacks by the mean of the other members.

        A model's shift against the members is fitted on the holdout. A member that lacks a whole class is wrong about
        that class, and a model trained without some person is not. Without imputation every such model would seem
        better than the members, and higher values would be expected of it on the rows than it has.

        Args:
            keep: which member saw which subject, ``(M, S)``.
            groups: of each holdout row, ``(H,)``.

        Returns:
            The values, with the measured ones in ``read``.
        """
        holdout = self.holdout.copy()
        for group in np.unique(groups[groups >= 0]):
            lacking, in_group = ~keep[:, group], groups == group
            if lacking.any() and not lacking.all():
                mean = self.holdout[~lacking].mean(0)
                holdout[lacking] = np.where(in_group, mean, holdout[lacking])
        return replace(self, holdout=holdout, groups=groups, read=self.holdout)


@dataclass(frozen=True)
class ErasedNull:
    """What a pool keeps of an erased subject, for one signal: its null, without any value of its rows.

    Attributes:
        scores: null scores of the members that never saw it, ``(n_never,)``.
        seen_variance: variance of the same scores among the members that saw it.
        norm: ``|d|`` of its gap.
        unit: ``D``, the score's numerator for a model that saw the rows.
    """

    scores: Sequence[float]
    seen_variance: float
    norm: float
    unit: float


@dataclass(frozen=True, eq=False)
class SplitValues:
    """The tuning or the evaluation split of the references.

    Attributes:
        keep: which member saw which subject, ``(M, S)``.
        positions: each subject's rows, ``S`` arrays of positions among the ``N`` training rows.
        signals: values by signal name.
        held: which member held which row, ``(M, N)``; None where it follows from ``keep`` (no groups).
        share: share of the rows that a member lacks, averaged over members.
        erased_nulls: by signal and subject, the nulls of subjects all of whose rows were erased.
    """

    keep: Flags
    positions: Sequence[Indices]
    signals: Mapping[str, SignalValues]
    held: Flags | None = None
    share: float = field(default=-1.0)
    erased_nulls: Mapping[str, Mapping[int, ErasedNull]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.share < 0:
            object.__setattr__(self, "share", float(1 - self.keep.mean()))

    @property
    def members(self) -> int:
        """Return the number of members."""
        return len(self.keep)

    def rows_held(self, subject: int, rows: Indices) -> Flags:
        """Return which of the members that saw ``subject`` held each of ``rows``, ``(n_seen, n)``."""
        saw = self.keep[:, subject]
        if self.held is None:
            return np.ones((int(saw.sum()), len(rows)), dtype=bool)
        return self.held[np.ix_(saw, rows)]

    @cached_property
    def rows_held_by(self) -> Flags:
        """Return which member held which row, ``(M, N)``."""
        return self.keep[:, self.owners] if self.held is None else self.held

    @cached_property
    def owners(self) -> Indices:
        """Return each row's subject, ``(N,)``: its owner where it belongs to a group too."""
        owners = np.full(sum(len(rows) for rows in self.positions) if self.held is None else self.held.shape[1], -1)
        for subject in reversed(range(len(self.positions))):
            owners[self.positions[subject]] = subject
        return owners

    @cached_property
    def comparable_members(self) -> Flags:
        """Return which member is comparable with a model without the row's owner, on each row, ``(M, N)``."""
        if self.held is None:
            return ~self.rows_held_by
        comparable = np.zeros(self.held.shape, dtype=bool)
        for subject in np.unique(self.owners):
            comparable[:, self.positions[subject]] = self.comparable(int(subject), self.positions[subject])
        return comparable

    def comparable(self, subject: int, rows: Indices) -> Flags:
        """Return which members are comparable with a model without ``subject``, on each of ``rows``.

        These are the members that never saw the subject. In a pool with groups some of them lack a row's whole class as
        well, and are wrong about the row as a model without the subject alone is not. They are left out where at least
        three others remain (decision 27).

        Args:
            subject: whose rows they are.
            rows: positions among the ``N`` training rows, ``(n,)``.

        Returns:
            ``(M, n)``.
        """
        never = ~self.keep[:, subject]
        comparable = np.repeat(never[:, None], len(rows), 1)
        if self.held is None:  # there are no groups
            return comparable
        for others in self._subjects[:, rows]:
            larger = (others >= 0) & (others != subject) & (self._sizes[others] > self._sizes[subject])
            comparable[:, larger] &= self.keep[:, others[larger]]
        comparable[:, comparable.sum(0) < FEWEST_COMPARABLE] = never[:, None]
        return comparable

    @cached_property
    def _sizes(self) -> Indices:
        """Return the number of rows of each subject, ``(S,)``."""
        return np.array([len(rows) for rows in self.positions])

    @cached_property
    def _subjects(self) -> Indices:
        """Return the one or two subjects that each row belongs to, its owner and its group, ``(2, N)``; -1 for none."""
        assert self.held is not None
        subjects = np.full((2, self.held.shape[1]), -1)
        for subject, rows in enumerate(self.positions):
            place = (subjects[0, rows] >= 0).astype(int)
            subjects[place, rows] = subject
        return subjects


@dataclass(frozen=True)
class Part:
    """Rows of one subject that a request asks for, all of them or some.

    Attributes:
        subject: index of the subject.
        rows: positions of the rows among the ``N`` training rows, ``(n,)``.
    """

    subject: int
    rows: Indices
