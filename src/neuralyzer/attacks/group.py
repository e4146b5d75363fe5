"""What the members that held each row, or those that did not, read of it; also with one member left out."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats

ENOUGH = 32  # readings for a variance of a row's own: LiRA's 64 shadow models, half of which held the row
SMALLEST_DEVIATION = 1e-6  # keeps densities finite where all members agree


@dataclass(frozen=True)
class Group:
    """Moments of some members' readings, row by row: ``(n,)``, or ``(M, n)`` where each member is left out in turn.

    Attributes:
        count: how many readings.
        mean: of them.
        squares: sum of their squared deviations from the mean.
    """

    count: Floats
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, readings: Floats, belongs: Flags) -> "Group":
        """Moments over the members that belong to the group of each row.

        Args:
            readings: ``(M, n)``.
            belongs: ``(M, n)``; at least one member a row.

        Returns:
            The group, ``(n,)``.
        """
        count = belongs.sum(0).astype(float)
        mean = np.where(belongs, readings, 0.0).sum(0) / count
        return cls(count, mean, np.where(belongs, np.square(readings - mean), 0.0).sum(0))

    def without_each(self, readings: Floats, belongs: Flags) -> "Group":
        """The same group as each member would have it, had that member not been among them.

        Args:
            readings: those that the group was made of, ``(M, n)``.
            belongs: values of members that held it; at least two members a row.

        Returns:
            The group, ``(M, n)``; where a member does not belong, nothing changes.
        """
        less = belongs.astype(float)
        deviation = less * (readings - self.mean)
        count = self.count - less
        squares = self.squares - np.square(deviation) * self.count / count
        return Group(count, self.mean - deviation / count, np.maximum(squares, 0.0))

    def deviation(self) -> Floats:
        """Standard deviation of each row's readings.

        Returns:
            A row's own where it has at least 32 readings, else one pooled over all rows: too few readings give too
            poor a variance (LiRA, arXiv 2112.03570, section VI.C, at 64 shadow models).
        """
        own = self.squares / np.maximum(self.count - 1, 1)
        freedom = np.maximum(self.count - 1, 0).sum(-1, keepdims=True)
        pooled = self.squares.sum(-1, keepdims=True) / np.maximum(freedom, 1)
        return np.maximum(np.sqrt(np.where(self.count >= ENOUGH, own, pooled)), SMALLEST_DEVIATION)
