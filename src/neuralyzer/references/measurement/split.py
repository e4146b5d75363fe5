"""One split of a pool: what its members read, and what reads a model the same way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from neuralyzer.references.measurement.evaluator import Evaluator
from neuralyzer.references.signal_values import Flags, Indices, Part, SplitValues

THINNED = 256  # holdout rows

Asked = tuple[Indices, Indices]  # n rows, and the m members that are asked about each, (m, n)


@dataclass(frozen=True, eq=False)
class ReferenceSplit:
    """One split of a pool, bound to a model of its lineage.

    Attributes:
        values: readings and who saw what, in the model's present rows.
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
        """Which of the present rows a member held, ``(N,)``."""
        if self.values.held is not None:
            return np.asarray(self.values.held[member])
        return np.asarray(self.values.keep[member, self.values.owners])

    def never_saw(self, parts: Sequence[Part]) -> list[Asked]:
        """Who can say how a model without a row's subject sees it.

        Args:
            parts: some or all rows of subjects.

        Returns:
            Blocks: rows among the parts' own, counted through, and the members that are asked about them; every row once.
        """
        return _blocks(np.concatenate([self.values.comparable(part.subject, part.rows) for part in parts], 1))

    def saw(self, parts: Sequence[Part]) -> list[Asked]:
        """Who can say how a model that held a row sees it: blocks as above, with every row once that any member held."""
        held = np.zeros((self.values.members, sum(len(part.rows) for part in parts)), dtype=bool)
        first = 0
        for part in parts:
            own = slice(first, first := first + len(part.rows))
            held[self.values.keep[:, part.subject], own] = self.values.rows_held(part.subject, part.rows)
        return [(rows, members) for rows, members in _blocks(held) if len(members)]

    def never_outputs(self, parts: Sequence[Part]) -> Iterator[tuple[Indices, torch.Tensor]]:
        """Rows among the parts' own, and the outputs ``(m, n, C)`` of the members that are asked about them."""
        return ((rows, shown[0]) for rows, shown in self.shown(parts, self.never_saw(parts)))

    def shown(self, parts: Sequence[Part], asked: Sequence[Asked]) -> Iterator[tuple[Indices, list[torch.Tensor]]]:
        """What members output on rows, and on each augmented copy of them.

        Args:
            parts: some or all rows of subjects.
            asked: rows and members, as ``never_saw`` or ``saw`` gives them.

        Yields:
            Rows among the parts' own, and outputs ``(m, n, C)``: on the rows, then on each copy.
        """
        positions = np.concatenate([part.rows for part in parts])
        for rows, members in asked:
            index = (members, positions[rows])
            yield rows, [torch.from_numpy(self.outputs[index]), *torch.from_numpy(self.copies[index]).movedim(2, 0)]

    @cached_property
    def thinned(self) -> "ReferenceSplit":
        """This split with fewer holdout rows, where there are many: what a tuner reads a dozen times must be cheap.

        Every model is read on the rows of the request and on the holdout, which is often twenty times as many; how a
        model differs from the members at large is told well by a part of it. Its rows are drawn.

        Returns:
            A split on 256 holdout rows, or this one where there are fewer than twice as many.
        """
        if len(self.evaluator.holdout.y) < 2 * THINNED:
            return self
        chosen, first = self.evaluator.few[:THINNED], np.arange(THINNED)
        signals = {
            name: own.on_holdout(chosen if own.units is None else first) for name, own in self.values.signals.items()
        }
        holdout = self.evaluator.holdout.take(chosen)
        return replace(
            self,
            values=replace(self.values, signals=signals),
            evaluator=replace(self.evaluator, holdout=holdout, few=first),
        )


def _blocks(asked: Flags) -> list[Asked]:
    """From ``asked (M, n)``, rows about which equally many members are asked.

    Of thousands of subjects with a row each hardly two were left out by the same members, but many by as many.

    Returns:
        Such rows, and the members about each.
    """
    count = asked.sum(0)
    blocks = [np.flatnonzero(count == many) for many in np.unique(count)]
    return [(rows, np.nonzero(asked[:, rows].T)[1].reshape(len(rows), -1).T) for rows in blocks]
