"""What the reference models of one half read, and which rows each of them held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

FEWEST_ASKED = 3  # members that say what one without the rows reads


@dataclass(frozen=True)
class Readings:
    """One signal, read by ``M`` members.

    Attributes:
        rows: on the ``N`` training rows, ``(M, N)``; NaN where the signal has no value (relearning of small subjects).
        holdout: on the ``H`` holdout rows, ``(M, H)``; or ``(M, U, H)`` where each of ``U`` units has its own.
        units: place of each unit's subject in ``holdout``; None where all share one.
        groups: group of each holdout row, as a subject ``(H,)``; -1 for none. None where there are no groups.
        read: what was read where ``holdout`` was filled in, shaped like it.
    """

    rows: Floats
    holdout: Floats
    units: Mapping[int, int] | None = None
    groups: Indices | None = None
    read: Floats | None = None

    def reads(self, subject: int) -> bool:
        """Whether the signal has a value for a subject."""
        return self.units is None or subject in self.units

    def holdout_of(self, subject: int) -> Floats:
        """The holdout that goes with a subject, ``(M, H)``; of a group itself with what its own rows really read."""
        if self.units is not None:
            return self.holdout[:, self.units[subject]]
        if self.groups is None or self.read is None or subject not in self.groups:
            return self.holdout
        return np.where(self.groups == subject, self.read, self.holdout)

    def on_holdout(self, rows: Indices) -> "Readings":
        """Return these values on some of the holdout rows."""
        groups = None if self.groups is None else self.groups[rows]
        read = None if self.read is None else self.read[..., rows]
        return replace(self, holdout=self.holdout[..., rows], groups=groups, read=read)

    def filled(self, keep: Flags, groups: Indices) -> "Readings":
        """Return these values, with the holdout rows of groups that a member lacks filled in with the other members' mean.

        How a model differs from the members is learned on the holdout. A member that lacks a class is wrong about the
        class there, as no model will be that is trained without some person: every such model would seem better than
        members, and would be expected to know more of the rows than it does.

        Args:
            keep: which member saw which subject, ``(M, S)``.
            groups: of each holdout row, ``(H,)``.

        Returns:
            The readings.
        """
        holdout = self.holdout.copy()
        for group in np.unique(groups[groups >= 0]):
            lacking, own = ~keep[:, group], groups == group
            if lacking.any() and not lacking.all():
                mean = self.holdout[~lacking].mean(0)
                holdout[lacking] = np.where(own, mean, holdout[lacking])
        return replace(self, holdout=holdout, groups=groups, read=self.holdout)


@dataclass(frozen=True)
class Remembered:
    """What stays of an erased subject under one signal: how far members lay apart that never saw it, and no row.

    Attributes:
        scores: their null scores, ``(n_never,)``.
        seen_variance: variance of the same scores among the members that saw it.
        norm: ``|d|`` of its gap.
        unit: ``D``, what its whole trace was worth.
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
        signals: readings by signal name.
        held: which member held which row, ``(M, N)``; None where it follows from ``keep`` (no groups).
        share: share of the rows that a member lacks, averaged over members.
        remembered: by signal, what stays of subjects all of whose rows were erased.
    """

    keep: Flags
    positions: Sequence[Indices]
    signals: Mapping[str, Readings]
    held: Flags | None = None
    share: float = field(default=-1.0)
    remembered: Mapping[str, Mapping[int, Remembered]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.share < 0:
            object.__setattr__(self, "share", float(1 - self.keep.mean()))

    @property
    def members(self) -> int:
        """How many members there are."""
        return len(self.keep)

    def rows_held(self, subject: int, rows: Indices) -> Flags:
        """Which of the members that saw ``subject`` held each of ``rows``, ``(members that saw it, n)``."""
        saw = self.keep[:, subject]
        if self.held is None:
            return np.ones((int(saw.sum()), len(rows)), dtype=bool)
        return self.held[np.ix_(saw, rows)]

    @cached_property
    def rows_held_by(self) -> Flags:
        """Which member held which row, ``(M, N)``."""
        return self.keep[:, self.owners] if self.held is None else self.held

    @cached_property
    def owners(self) -> Indices:
        """Each row's subject, its owner's where it has a group too, ``(N,)``."""
        found = np.full(sum(len(rows) for rows in self.positions) if self.held is None else self.held.shape[1], -1)
        for subject in reversed(range(len(self.positions))):
            found[self.positions[subject]] = subject
        return found

    @cached_property
    def rows_asked_of(self) -> Flags:
        """Which member can say how a model without a row's owner sees it, ``(M, N)``."""
        if self.held is None:
            return ~self.rows_held_by
        asked = np.zeros(self.held.shape, dtype=bool)
        for subject in np.unique(self.owners):
            asked[:, self.positions[subject]] = self.asked(int(subject), self.positions[subject])
        return asked

    def asked(self, subject: int, rows: Indices) -> Flags:
        """Which members can say how a model without ``subject`` sees each of ``rows``.

        In a pool with groups some of the members that never saw the subject lack a row's whole class as well, and are
        wrong about it as no model will be that is trained without the subject alone. They are not asked, as long as
        three others are left.

        Args:
            subject: whose rows they are.
            rows: positions among the ``N`` training rows, ``(n,)``.

        Returns:
            ``(M, n)``.
        """
        never = ~self.keep[:, subject]
        asked = np.repeat(never[:, None], len(rows), 1)
        if self.held is None:  # there are no groups
            return asked
        for others in self._subjects[:, rows]:
            larger = (others >= 0) & (others != subject) & (self._sizes[others] > self._sizes[subject])
            asked[:, larger] &= self.keep[:, others[larger]]
        asked[:, asked.sum(0) < FEWEST_ASKED] = never[:, None]
        return asked

    @cached_property
    def _sizes(self) -> Indices:
        """How many rows each subject has, ``(S,)``."""
        return np.array([len(rows) for rows in self.positions])

    @cached_property
    def _subjects(self) -> Indices:
        """The one or two subjects that each row belongs to, its owner and its group, ``(2, N)``; -1 for none."""
        assert self.held is not None
        found = np.full((2, self.held.shape[1]), -1)
        for subject, rows in enumerate(self.positions):
            place = (found[0, rows] >= 0).astype(int)
            found[place, rows] = subject
        return found


@dataclass(frozen=True)
class Part:
    """Rows of one subject that a request asks for, all of them or some.

    Attributes:
        subject: index of the subject.
        rows: positions of the rows among the ``N`` training rows, ``(n,)``.
    """

    subject: int
    rows: Indices
