"""The moments of signal values over the members that held each row, or those that did not; also leaving one out."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats

ENOUGH = 32  # values from which a row has its own variance: LiRA has 64 shadow models, half of which held the row
SMALLEST_DEVIATION = 1e-6  # keeps densities finite where all members agree


@dataclass(frozen=True)
class Group:
    """The moments of some members' values, row by row: ``(n,)``, or ``(M, n)`` where each member is left out in turn.

    Attributes:
        count: number of values.
        mean: of the values.
        squares: sum of their squared deviations from the mean.
    """

    count: Floats
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, readings: Floats, belongs: Flags) -> "Group":
        """Return the moments over the members that belong to the group of each row.

        Args:
            readings: signal values, ``(M, n)``.
            belongs: whether each member belongs to it, ``(M, n)``; at least one member per row.

        Returns:
            The group, ``(n,)``.
        """
        count = belongs.sum(0).astype(float)
        mean = np.where(belongs, readings, 0.0).sum(0) / count
        return cls(count, mean, np.where(belongs, np.square(readings - mean), 0.0).sum(0))

    def without_each(self, readings: Floats, belongs: Flags) -> "Group":
        """Return the same group without each member in turn.

        Args:
            readings: signal values that the group was made of, ``(M, n)``.
            belongs: whether each member belongs to it, ``(M, n)``; at least two members per row.

        Returns:
            The group, ``(M, n)``; unchanged where a member does not belong to it.
        """
        less = belongs.astype(float)
        deviation = less * (readings - self.mean)
        count = self.count - less
        squares = self.squares - np.square(deviation) * self.count / count
        return Group(count, self.mean - deviation / count, np.maximum(squares, 0.0))

    def deviation(self) -> Floats:
        """Return the standard deviation of each row's values.

        Returns:
            The row's own if it has at least 32 values, else one pooled over all rows, since few values give a poor
            variance (LiRA, arXiv 2112.03570, section VI.C, at 64 shadow models).
        """
        by_row = self.squares / np.maximum(self.count - 1, 1)
        freedom = np.maximum(self.count - 1, 0).sum(-1, keepdims=True)
        pooled = self.squares.sum(-1, keepdims=True) / np.maximum(freedom, 1)
        return np.maximum(np.sqrt(np.where(self.count >= ENOUGH, by_row, pooled)), SMALLEST_DEVIATION)
