"""What ``datamodel-matching`` brings a model's outputs to, on the forget rows and on copies of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.rows import Data
from neuralyzer.influence.removal import predicted_outputs
from neuralyzer.models import reading
from neuralyzer.models.objective import Objective, matchable
from neuralyzer.references.measurement.copies import copies
from neuralyzer.references.measurement.split import ReferenceSplit, RowBlock
from neuralyzer.references.signal_values import Part
from neuralyzer.signals.margin import Margin
from neuralyzer.trace import estimator
from neuralyzer.unlearning.task import Task

BEYOND = 1.6  # times as far as copies shall go: what a step and passes ask of them they reach by five eighths
CROWD = 0.25  # of a class: its rows are so alike that others reach the whole
PAIR = 2  # copies of each row in a round of steps

Augment = Callable[[Any, torch.Generator], Any]


@dataclass(frozen=True)
class Aims:
    """What shall be matched, and to which outputs.

    Where the recipe augments, what is matched is ever new copies of the rows, as training drew them: a model knows the
    rows by these, what brings copies where they belong brings the rows, and not the other way round. A copy's aim is
    what the original says of it, less what tells ``seen`` from ``never``. Without augmentation the rows are matched.

    Attributes:
        x: the ``F`` forget rows, ``(F, ...)``.
        y: their targets.
        never: what the objective's ``target`` would give of the outputs of a model that never saw them, ``(F, C)``; of
            each row's copies together, where there are any.
        seen: what a model that did says of each; None where ``never`` itself is the aim.
        share: of the difference, that is taken off, ``(F, 1)``.
        model: the original.
        objective: its own.
        augment: the recipe's, or None.
        seed: of the copies.
    """

    x: Inputs
    y: Tensor
    never: Tensor
    seen: Tensor | None
    share: Tensor
    model: nn.Module
    objective: Objective
    augment: Augment | None
    seed: int

    @classmethod
    def of_references(cls, task: Task) -> "Aims":
        """What members that never saw a row output on it, of a task's forget rows."""
        never = _said(task, ReferenceSplit.never_saw)
        return cls._of(task, never, _own(task, _read(task)) if task.oracle.recipe.augment else None)

    def led(self, task: Task, module: nn.Module) -> "Aims":
        """These targets, as much surer of each row as a model leads members on rows that neither saw.

        Args:
            task: of the aims.
            module: the model; where steps make it less sure of the holdout, a retrained one as sure would lead less.

        Returns:
            The aims.
        """
        ahead = torch.from_numpy(leads(task, module)).float()
        return replace(self, never=matchable(self.objective).surer(self.never, self.y, ahead))

    @classmethod
    def near(cls, task: Task) -> "Aims":
        """A model's own outputs without what training on the rows did to them.

        That is what tells members that held a row from those that never saw it, as a datamodel has it (Ilyas et al.
        2022, arXiv 2202.00622), by as much as the model remembers of what they do (``remembered``); of copies
        ``BEYOND`` times that, unless many of their class go with them: then they reach each other as they are.

        Args:
            task: gives model, rows, copies and references.

        Returns:
            The aims.
        """
        never, share = _said(task, ReferenceSplit.never_saw), torch.full((len(task.positions), 1), remembered(task))
        if task.oracle.recipe.augment:
            share *= torch.where(_crowded(task), 1.0, BEYOND)[:, None]
        return cls._of(task, never, _said(task, ReferenceSplit.saw, never), share)

    @classmethod
    def of_influence(cls, task: Task, damping: float) -> "Aims":
        """What influence functions say that a model without a task's forget rows outputs on them."""
        x, y = task.oracle.data.gather(task.positions)
        outputs = predicted_outputs(task.model, task.objective, task.forget, len(task.retain), task.factors, damping, x)
        never = matchable(task.objective).target(outputs[None], y)
        return cls._of(task, never, _own(task, [x]) if task.oracle.recipe.augment else None)

    @classmethod
    def _of(cls, task: Task, never: Tensor, seen: Tensor | None, share: Tensor | None = None) -> "Aims":
        x, y = task.oracle.data.gather(task.positions)
        share = torch.ones(len(y), 1) if share is None else share
        return cls(x, y, never, seen, share, task.model, task.objective, task.oracle.recipe.augment, task.seed)

    @cached_property
    def outputs(self) -> Tensor:
        """What is aimed at on the rows themselves, ``(F, C)``."""
        return self._aimed(self.x, torch.arange(batches.count(self.x)))

    def round(self, number: int) -> tuple[Data, Tensor]:
        """What a Newton step matches: the rows, or ``PAIR`` copies of each, others in each round."""
        if self.augment is None:
            return Data(ArrayRows(self.x, self.y)), self.outputs
        places = torch.arange(batches.count(self.x)).repeat(PAIR)
        x, outputs = self._copied(places, torch.Generator().manual_seed(self.seed + number))
        return Data(ArrayRows(x, self.y[places])), outputs

    def drawn(self, size: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Rows or copies and their aims, of ``size`` rows at a time or all, in a new order each time that all were drawn."""
        turn, generator = 0, torch.Generator().manual_seed(seed + 1)
        while True:
            order = np.random.default_rng(seed + turn).permutation(batches.count(self.x))
            for first in range(0, len(order), size):
                places = torch.from_numpy(order[first : first + size])
                own = self.augment is None
                yield (batches.take(self.x, places), self.outputs[places]) if own else self._copied(places, generator)
            turn += 1

    def _copied(self, places: Tensor, generator: torch.Generator) -> tuple[Inputs, Tensor]:
        assert self.augment is not None
        x = self.augment(batches.take(self.x, places), generator)
        return x, self._aimed(x, places)

    def _aimed(self, x: Inputs, places: Tensor) -> Tensor:
        if self.seen is None:
            return self.never[places]
        own = reading.outputs(self.model, self.objective, x)
        return matchable(self.objective).without(own, self.seen[places], self.never[places], self.share[places])


def remembered(task: Task) -> float:
    """The original's own trace by ``margin``, as the tuning split reads it; 1 where it cannot be read."""
    split = task.references
    found = (
        None
        if split is None
        else estimator.signal_trace(split.thinned, task.parts, task.alpha, Margin.name, task.model)
    )
    return 1.0 if found is None else max(0.0, found)


def leads(task: Task, module: nn.Module) -> np.ndarray:
    """By how much larger ``margin`` a model would have than members on forget rows, had it never seen them either.

    Args:
        task: gives rows and members.
        module: the model.

    Returns:
        ``(F,)``, in the order of the task's rows, as the tuning split tells it from the holdout; 0 where it cannot be read.
    """
    split, found = task.references, np.zeros(len(task.positions))
    own = split and estimator.expected_shifts(split.thinned, task.parts, task.alpha, Margin.name, module)
    if own:
        found[_places(task)] = np.concatenate(own)
    return found


def round_size(task: Task) -> int:
    """Rows that a Newton step matches."""
    return (1 if task.oracle.recipe.augment is None else PAIR) * len(task.positions)


def _read(task: Task) -> Iterable[Inputs]:
    """The copies of the rows that members were read on; the rows where there are none."""
    split, x = task.references, task.oracle.data.gather(task.positions)[0]
    return (
        [x] if split is None or not split.copies.shape[2] else copies(x, split.copies.shape[2], split.evaluator.context)
    )


def _own(task: Task, shown: Iterable[Inputs]) -> Tensor:
    """What the original says of each row as it is shown, once or more, together."""
    y = task.oracle.data.gather(task.positions)[1]
    return matchable(task.objective).target(
        torch.stack([reading.outputs(task.model, task.objective, own) for own in shown]), y
    )


def _said(
    task: Task, asked: Callable[[ReferenceSplit, Sequence[Part]], list[RowBlock]], otherwise: Tensor | None = None
) -> Tensor:
    """What the members that are asked about each row say together, of it or of its copies, as one target each.

    In a pool with classes as groups, what a member says of a class that it lacks is what the others say of it.

    Returns:
        ``(F, C)``, in the order of the task's rows; ``otherwise`` where nobody can be asked.
    """
    split, places, lacking = task.references, _places(task), _lacking(task)
    assert split is not None
    y = task.oracle.data.gather(task.positions)[1]
    said = None if otherwise is None else otherwise.clone()
    blocks = asked(split, task.parts)
    for (rows, shown), (_, members) in zip(split.block_outputs(task.parts, blocks), blocks, strict=True):
        if lacking is not None:
            shown = [filled_in(outputs, lacking[torch.from_numpy(members)]) for outputs in shown]
        found = matchable(task.objective).target(torch.cat(shown[1:] or shown), y[places[rows]])
        said = torch.zeros(len(places), found.shape[1]) if said is None else said
        said[places[rows]] = found
    assert said is not None
    return said


def _lacking(task: Task) -> Tensor | None:
    """Which members hold no row of which class, ``(M, C)``; None where the pool has no classes as groups."""
    split, labels = task.references, task.oracle.data.y.numpy()
    if split is None or split.values.held is None or not task.objective.counted or labels.ndim > 1:
        return None
    lacking = np.zeros((split.values.members, split.outputs.shape[2]), dtype=bool)
    for label in np.unique(labels).astype(int):
        lacking[:, label] = ~split.values.held[:, labels == label].any(1)
    return torch.from_numpy(lacking)


def filled_in(outputs: Tensor, lacking: Tensor) -> Tensor:
    """Members' log-probabilities; of a class that a member lacks, the mean of those that know it.

    A member that lacks a class says that it is next to impossible, whatever the row shows: a mean of few members would
    say more of who lacks what than of the row.

    Args:
        outputs: logits ``(m, n, C)``.
        lacking: which member lacks which class, by row, ``(m, n, C)``.

    Returns:
        ``(m, n, C)``, not normalised; a class that none of them knows stays as they say.
    """
    logs, knows = outputs.log_softmax(-1), ~lacking
    known = knows.sum(0)
    mean = torch.where(knows, logs, 0.0).sum(0) / known.clamp_min(1)
    return torch.where(lacking & (known > 0), mean, logs)


def _crowded(task: Task) -> Tensor:
    """Of which forget rows ``CROWD`` of their class or more is to be forgotten, ``(F,)``."""
    if not task.objective.counted or task.forget.y.ndim > 1:
        return torch.zeros(len(task.forget), dtype=torch.bool)
    own, every = task.forget.y.long(), task.oracle.data.y.long()
    gone, known = (torch.bincount(labels, minlength=int(every.max()) + 1) for labels in (own, every))
    return gone[own] >= CROWD * known[own]


def _places(task: Task) -> Tensor:
    """Where the rows of a task's parts, counted through, are among its own."""
    return torch.from_numpy(np.searchsorted(task.positions, np.concatenate([part.rows for part in task.parts])))
