"""One split of a pool: the signal values and outputs of its members, and the evaluator that reads other models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from neuralyzer.references.measurement.evaluator import Evaluator
from neuralyzer.references.signal_values import Flags, Indices, Part, SplitValues

THINNED = 256  # holdout rows of a thinned split

RowBlock = tuple[Indices, Indices]  # n rows, and m members for each of them, (m, n)


@dataclass(frozen=True, eq=False)
class ReferenceSplit:
    """One split of a pool, bound to a model of its lineage.

    Attributes:
        values: signal values of the members and which subjects each saw, for the model's present rows.
        evaluator: reads any model the way these members were read.
        utilities: each member's utility on the holdout, ``(M,)``.
        outputs: of each member on each present row, ``(M, N, C)``.
        copies: outputs on each row's augmented copies, ``(M, N, K, C)``; ``K`` is 0 where the recipe has none.
        kept: the weights' file of each member that held no row that was erased since; None where there is no such file.
    """

    values: SplitValues
    evaluator: Evaluator
    utilities: np.ndarray
    outputs: np.ndarray
    copies: np.ndarray
    kept: tuple[Path | None, ...] = ()

    def held(self, member: int) -> Flags:
        """Return which of the present rows a member held, ``(N,)``."""
        if self.values.held is not None:
            return np.asarray(self.values.held[member])
        return np.asarray(self.values.keep[member, self.values.owners])

    def never_saw(self, parts: Sequence[Part]) -> list[RowBlock]:
        """Return the members comparable with a model without a row's subject, for each row.

        Args:
            parts: some or all rows of subjects.

        Returns:
            Blocks of row numbers, counted through all parts, with the comparable members of each; every row once.
        """
        return _blocks(np.concatenate([self.values.comparable(part.subject, part.rows) for part in parts], 1))

    def saw(self, parts: Sequence[Part]) -> list[RowBlock]:
        """Return the members that held a row, for each row: blocks as ``never_saw`` has, without rows nobody held."""
        held = np.zeros((self.values.members, sum(len(part.rows) for part in parts)), dtype=bool)
        first = 0
        for part in parts:
            of_part = slice(first, first := first + len(part.rows))
            held[self.values.keep[:, part.subject], of_part] = self.values.rows_held(part.subject, part.rows)
        return [(rows, members) for rows, members in _blocks(held) if len(members)]

    def never_outputs(self, parts: Sequence[Part]) -> Iterator[tuple[Indices, torch.Tensor]]:
        """Return blocks of row numbers with the outputs ``(m, n, C)`` of the comparable members that never saw them."""
        return ((rows, outputs[0]) for rows, outputs in self.block_outputs(parts, self.never_saw(parts)))

    def block_outputs(
        self, parts: Sequence[Part], blocks: Sequence[RowBlock]
    ) -> Iterator[tuple[Indices, list[torch.Tensor]]]:
        """Read members' outputs on rows and on each augmented copy of them.

        Args:
            parts: some or all rows of subjects.
            blocks: row numbers and members, as ``never_saw`` or ``saw`` gives them.

        Yields:
            Row numbers, and outputs ``(m, n, C)``: on the rows, then on each copy.
        """
        positions = np.concatenate([part.rows for part in parts])
        for rows, members in blocks:
            index = (members, positions[rows])
            yield rows, [torch.from_numpy(self.outputs[index]), *torch.from_numpy(self.copies[index]).movedim(2, 0)]

    @cached_property
    def thinned(self) -> "ReferenceSplit":
        """Return this split with fewer holdout rows, where there are many, so that a tuner's readings are cheap.

        A model is read on the request's rows and on the holdout, which is often twenty times as large. A random part of
        the holdout is enough to fit a model's shift.

        Returns:
            A split on 256 holdout rows, fewer where per-unit signals read fewer; this one where there are fewer than
            twice as many.
        """
        chosen = self.evaluator.few[:THINNED]
        if len(self.evaluator.holdout.y) < 2 * len(chosen):
            return self
        first = np.arange(len(chosen))
        signals = {
            name: values.on_holdout(chosen if values.units is None else first)
            for name, values in self.values.signals.items()
        }
        holdout = self.evaluator.holdout.take(chosen)
        return replace(
            self,
            values=replace(self.values, signals=signals),
            evaluator=replace(self.evaluator, holdout=holdout, few=first),
        )


def _blocks(flags: Flags) -> list[RowBlock]:
    """Group rows by how many members are flagged for them, ``flags (M, n)``.

    Of thousands of subjects with one row each, hardly two were left out by the same members, but many by equally many.

    Returns:
        Row numbers, and the flagged members of each.
    """
    count = flags.sum(0)
    blocks = [np.flatnonzero(count == number) for number in np.unique(count)]
    return [(rows, np.nonzero(flags[:, rows].T)[1].reshape(len(rows), -1).T) for rows in blocks]
