"""The outputs that ``datamodel-matching`` brings a model to, on the forget rows and on copies of them."""

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

# Times the difference that is taken off copies: a step and passes reach five eighths of what they ask of copies
# (docs/decisions/0029-copies-not-rows.md)
COPY_OVERSHOOT = 1.6
# Share of a class: where more of it goes, its rows are so alike that copies move each other all the way (decision 29)
WHOLE_CLASS_SHARE = 0.25
COPIES_A_ROUND = 2  # copies of each row that a Newton step matches: others at each step (decision 29)

Augment = Callable[[Any, torch.Generator], Any]


@dataclass(frozen=True)
class Targets:
    """What is matched, and to which outputs.

    Without augmentation the rows are matched. Where the recipe augments, new copies are matched in place of the rows, drawn
    as training drew them: a model knows the rows by their copies, so that matching copies matches the rows, but not the
    other way round. A copy's target is the original's output on it less a share of the difference between ``seen`` and
    ``never``.

    Attributes:
        x: the ``F`` forget rows, ``(F, ...)``.
        y: their targets.
        never: the objective's ``target`` of models that never saw the rows, ``(F, C)``; where there are copies, of each
            row's copies together.
        seen: the same of models that saw them; None where ``never`` itself is the target.
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
    def of_references(cls, task: Task) -> "Targets":
        """Return targets that are what members that never saw a row output on it."""
        never = _members_target(task, ReferenceSplit.never_saw)
        return cls._of(task, never, _model_target(task, _inputs_read(task)) if task.oracle.recipe.augment else None)

    def with_lead(self, task: Task, module: nn.Module) -> "Targets":
        """Return these targets with larger margins: by as much as a model is surer than members of rows that neither saw.

        Args:
            task: of the targets.
            module: the model as it now stands: steps make it less sure of the holdout, and its lead smaller.

        Returns:
            The targets.
        """
        ahead = torch.from_numpy(expected_leads(task, module)).float()
        return replace(self, never=matchable(self.objective).surer(self.never, self.y, ahead))

    @classmethod
    def of_difference(cls, task: Task) -> "Targets":
        """Return targets that are the model's own outputs less the effect of training on the rows.

        The effect is the difference between members that held a row and members that never saw it, as in a datamodel
        (Ilyas et al. 2022, arXiv 2202.00622), times the model's ``memorised_share``. For copies it is multiplied by
        ``COPY_OVERSHOOT``, except where a large part of the class is removed (``WHOLE_CLASS_SHARE``).

        Args:
            task: gives model, rows, copies and references.

        Returns:
            The targets.
        """
        never, share = (
            _members_target(task, ReferenceSplit.never_saw),
            torch.full((len(task.positions), 1), memorised_share(task)),
        )
        if task.oracle.recipe.augment:
            share *= torch.where(_largely_removed(task), 1.0, COPY_OVERSHOOT)[:, None]
        return cls._of(task, never, _members_target(task, ReferenceSplit.saw, never), share)

    @classmethod
    def of_influence(cls, task: Task, damping: float) -> "Targets":
        """Return targets that influence functions predict for a model without the task's forget rows."""
        x, y = task.oracle.data.gather(task.positions)
        outputs = predicted_outputs(task.model, task.objective, task.forget, len(task.retain), task.factors, damping, x)
        never = matchable(task.objective).target(outputs[None], y)
        return cls._of(task, never, _model_target(task, [x]) if task.oracle.recipe.augment else None)

    @classmethod
    def _of(cls, task: Task, never: Tensor, seen: Tensor | None, share: Tensor | None = None) -> "Targets":
        x, y = task.oracle.data.gather(task.positions)
        share = torch.ones(len(y), 1) if share is None else share
        return cls(x, y, never, seen, share, task.model, task.objective, task.oracle.recipe.augment, task.seed)

    @cached_property
    def outputs(self) -> Tensor:
        """Targets on the rows themselves, ``(F, C)``."""
        return self._target_of(self.x, torch.arange(batches.count(self.x)))

    def round(self, number: int) -> tuple[Data, Tensor]:
        """Return what a Newton step matches: the rows, or ``COPIES_A_ROUND`` new copies of each, with their targets."""
        if self.augment is None:
            return Data(ArrayRows(self.x, self.y)), self.outputs
        places = torch.arange(batches.count(self.x)).repeat(COPIES_A_ROUND)
        x, outputs = self._copied(places, torch.Generator().manual_seed(self.seed + number))
        return Data(ArrayRows(x, self.y[places])), outputs

    def drawn(self, size: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield rows or copies with their targets, at most ``size`` at a time, in a new order each time all were drawn."""
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
        return x, self._target_of(x, places)

    def _target_of(self, x: Inputs, places: Tensor) -> Tensor:
        if self.seen is None:
            return self.never[places]
        own = reading.outputs(self.model, self.objective, x)
        return matchable(self.objective).without(own, self.seen[places], self.never[places], self.share[places])


def memorised_share(task: Task) -> float:
    """Return the original's trace by ``margin`` on the tuning split, at least 0; 1 where it cannot be read."""
    found = margin_trace(task, task.model)
    return 1.0 if found is None else max(0.0, found)


def margin_trace(task: Task, module: nn.Module) -> float | None:
    """Return a model's trace by ``margin`` alone on the tuning split; None where it cannot be read."""
    split = task.references
    if split is None:
        return None
    return estimator.signal_trace(split.thinned, task.parts, task.alpha, Margin.name, module)


def expected_leads(task: Task, module: nn.Module) -> np.ndarray:
    """Return by how much larger a model's ``margin`` would be than members' on forget rows that it never saw either.

    Args:
        task: gives rows and members.
        module: the model.

    Returns:
        ``(F,)``, in the order of the task's rows, estimated on the holdout; 0 where it cannot be read.
    """
    split, found = task.references, np.zeros(len(task.positions))
    own = split and estimator.expected_shifts(split.thinned, task.parts, task.alpha, Margin.name, module)
    if own:
        found[_places(task)] = np.concatenate(own)
    return found


def round_size(task: Task) -> int:
    """Return how many rows a Newton step matches."""
    return (1 if task.oracle.recipe.augment is None else COPIES_A_ROUND) * len(task.positions)


def _inputs_read(task: Task) -> Iterable[Inputs]:
    """Return the copies of the rows that members were read on; the rows themselves where there are none."""
    split, x = task.references, task.oracle.data.gather(task.positions)[0]
    return (
        [x] if split is None or not split.copies.shape[2] else copies(x, split.copies.shape[2], split.evaluator.context)
    )


def _model_target(task: Task, inputs: Iterable[Inputs]) -> Tensor:
    """Return the target of the original's outputs on each row over all its copies."""
    y = task.oracle.data.gather(task.positions)[1]
    return matchable(task.objective).target(
        torch.stack([reading.outputs(task.model, task.objective, x) for x in inputs]), y
    )


def _members_target(
    task: Task, choose: Callable[[ReferenceSplit, Sequence[Part]], list[RowBlock]], otherwise: Tensor | None = None
) -> Tensor:
    """Return the target of chosen members' outputs on each row or on its copies.

    In a pool with classes as groups, a member's output for a class that it lacks is replaced by the others' (``filled_in``).

    Args:
        task: gives rows and references.
        choose: chooses members by row.
        otherwise: taken for rows of which no member can be chosen, ``(F, C)``.

    Returns:
        ``(F, C)``, in the order of the task's rows.
    """
    split, places, lacking = task.references, _places(task), _lacked_classes(task)
    assert split is not None
    y = task.oracle.data.gather(task.positions)[1]
    targets = None if otherwise is None else otherwise.clone()
    blocks = choose(split, task.parts)
    for (rows, outputs), (_, members) in zip(split.block_outputs(task.parts, blocks), blocks, strict=True):
        if lacking is not None:
            outputs = [filled_in(of_copy, lacking[torch.from_numpy(members)]) for of_copy in outputs]
        on_copies = outputs[1:] or outputs  # the first are on the rows themselves
        target = matchable(task.objective).target(torch.cat(on_copies), y[places[rows]])
        targets = torch.zeros(len(places), target.shape[1]) if targets is None else targets
        targets[places[rows]] = target
    assert targets is not None
    return targets


def _lacked_classes(task: Task) -> Tensor | None:
    """Return which member holds no row of which class, ``(M, C)``; None where the pool has no classes as groups."""
    split, labels = task.references, task.oracle.data.y.numpy()
    if split is None or split.values.held is None or not task.objective.counted or labels.ndim > 1:
        return None
    lacking = np.zeros((split.values.members, split.outputs.shape[2]), dtype=bool)
    for label in np.unique(labels).astype(int):
        lacking[:, label] = ~split.values.held[:, labels == label].any(1)
    return torch.from_numpy(lacking)


def filled_in(outputs: Tensor, lacking: Tensor) -> Tensor:
    """Return members' log-probabilities; of a class that a member lacks, the mean of the others.

    A member that lacks a class gives it a probability near 0 whatever the row, so that a mean over few members would
    depend on which of them lack the class.

    Args:
        outputs: logits ``(m, n, C)``.
        lacking: which member lacks which class, by row, ``(m, n, C)``.

    Returns:
        ``(m, n, C)``, not normalised; a class that all of them lack is left as it is.
    """
    logs, knows = outputs.log_softmax(-1), ~lacking
    known = knows.sum(0)
    mean = torch.where(knows, logs, 0.0).sum(0) / known.clamp_min(1)
    return torch.where(lacking & (known > 0), mean, logs)


def _largely_removed(task: Task) -> Tensor:
    """Return for each forget row whether ``WHOLE_CLASS_SHARE`` of its class or more is to be forgotten, ``(F,)``."""
    if not task.objective.counted or task.forget.y.ndim > 1:
        return torch.zeros(len(task.forget), dtype=torch.bool)
    own, every = task.forget.y.long(), task.oracle.data.y.long()
    gone, known = (torch.bincount(labels, minlength=int(every.max()) + 1) for labels in (own, every))
    return gone[own] >= WHOLE_CLASS_SHARE * known[own]


def _places(task: Task) -> Tensor:
    """Return the places of the rows of a task's parts, one part after another, among the task's rows."""
    return torch.from_numpy(np.searchsorted(task.positions, np.concatenate([part.rows for part in task.parts])))
