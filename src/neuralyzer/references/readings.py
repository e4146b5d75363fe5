"""What the reference models of one half read, and which rows each of them held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Readings:
    """One signal, read by ``M`` members.

    Attributes:
        rows: on the ``N`` training rows, ``(M, N)``; NaN where the signal has no value (relearning of small subjects).
        holdout: on the ``H`` holdout rows, ``(M, H)``; or ``(M, U, H)`` where each of ``U`` units has its own.
        units: place of each unit's subject in ``holdout``; None where all share one.
    """

    rows: Floats
    holdout: Floats
    units: Mapping[int, int] | None = None

    def reads(self, subject: int) -> bool:
        """Whether the signal has a value for a subject."""
        return self.units is None or subject in self.units

    def holdout_of(self, subject: int) -> Floats:
        """The holdout that goes with a subject, ``(M, H)``."""
        return self.holdout if self.units is None else self.holdout[:, self.units[subject]]


@dataclass(frozen=True)
class Remembered:
    """What stays of an erased subject under one signal: how far members lay apart that never saw it, and no row.

    Attributes:
        scores: their null scores, ``(n_never,)``.
        seen_variance: variance of the like among the members that saw it.
        norm: ``|d|`` of its gap.
        unit: ``D``, what its whole trace was worth.
    """

    scores: Sequence[float]
    seen_variance: float
    norm: float
    unit: float


@dataclass(frozen=True, eq=False)
class Half:
    """The tuning or the judging half of the references.

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


@dataclass(frozen=True)
class Part:
    """Rows of one subject that a request asks for, all of them or some.

    Attributes:
        subject: index of the subject.
        rows: positions of the rows among the ``N`` training rows, ``(n,)``.
    """

    subject: int
    rows: Indices
