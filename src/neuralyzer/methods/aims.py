"""What ``datamodel-matching`` brings a model's outputs to, on the forget rows and on copies of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.influence.removal import foretold
from neuralyzer.methods.task import Task
from neuralyzer.models import reading
from neuralyzer.references.copies import copies
from neuralyzer.references.half import Asked, ReferenceHalf
from neuralyzer.references.readings import Part
from neuralyzer.signals.margin import Margin
from neuralyzer.trace import gauge

COPIES_SHARE = 2.0  # of what is taken off rows: what some copies of a row are brought to, others reach by half
CROWD = 0.25  # of a class: its rows are so alike that others reach the whole


@dataclass(frozen=True)
class Aims:
    """What shall be matched, and to which outputs.

    A recipe that augments teaches its models what copies look like, so that these know the rows by their copies.

    Attributes:
        x: the ``F`` forget rows, then ``K`` times a copy of each, ``(F + K F, ...)``.
        y: their targets.
        outputs: what the objective's ``target`` would give of the outputs aimed at, ``(F + K F, C)``.
        count: ``F``.
    """

    x: Tensor
    y: Tensor
    outputs: Tensor
    count: int

    @classmethod
    def of_references(cls, task: Task) -> "Aims":
        """What members that never saw a row output on it, of a task's forget rows."""
        x, y = _shown(task)
        return cls(x, y, _said(task, ReferenceHalf.never_saw), len(task.positions))

    def led(self, task: Task, module: nn.Module) -> "Aims":
        """The like, as much surer of each row as a model leads members on rows that neither saw.

        Args:
            task: of the aims.
            module: the model; where steps make it less sure of the holdout, a retrained one as sure would lead less.

        Returns:
            The aims.
        """
        ahead = torch.from_numpy(leads(task, module)).float().repeat(len(self.x) // self.count)
        return replace(self, outputs=task.objective.surer(self.outputs, self.y, ahead))

    @classmethod
    def near(cls, task: Task) -> "Aims":
        """A model's own outputs without what training on the rows did to them.

        That is what tells members that held a row from those that never saw it, as a datamodel has it (Ilyas et al.
        2022, arXiv 2202.00622), by as much as the model remembers of what they do (``remembered``); of copies
        ``COPIES_SHARE`` times that, unless many of their class go with them: then others reach them as they are.

        Args:
            task: gives model, rows, copies and references.

        Returns:
            The aims.
        """
        x, y = _shown(task)
        own = reading.outputs(task.model, task.objective, x)
        never = _said(task, ReferenceHalf.never_saw)
        seen = _said(task, ReferenceHalf.saw, never)
        count, share = len(task.positions), remembered(task)
        taken = torch.full((len(x), 1), share)
        taken[count:] *= torch.where(_crowded(task), 1.0, COPIES_SHARE).repeat(len(x) // count - 1)[:, None]
        return cls(x, y, task.objective.without(own, seen, never, taken), count)

    @classmethod
    def of_influence(cls, task: Task, damping: float) -> "Aims":
        """What influence functions say that a model without a task's forget rows outputs on them."""
        x, y = _shown(task)
        outputs = foretold(task.model, task.objective, task.forget, len(task.retain), task.factors, damping, x)
        return cls(x, y, task.objective.target(outputs[None], y), len(task.positions))

    def round(self, number: int) -> tuple[Data, Tensor]:
        """The rows and one copy of each, another in each round; what a Newton step matches."""
        others = len(self.x) // self.count - 1
        own = np.arange(self.count)
        if others:
            own = np.concatenate([own, own + (1 + number % others) * self.count])
        chosen = torch.from_numpy(own)
        return Data.from_arrays(self.x[chosen].numpy(), self.y[chosen].numpy()), self.outputs[chosen]

    def drawn(self, size: int, seed: int) -> Iterator[Tensor]:
        """Numbers of rows and copies, ``size`` at a time or all, in a new order each time that all were drawn."""
        turn = 0
        while True:
            order = np.random.default_rng(seed + turn).permutation(len(self.x))
            for first in range(0, len(order), size):
                yield torch.from_numpy(order[first : first + size])
            turn += 1


def remembered(task: Task) -> float:
    """The original's own trace by ``margin``, as the coach reads it; 1 where it cannot be read."""
    half = task.references
    found = None if half is None else gauge.alone(half.thinned, task.parts, task.alpha, Margin.name, task.model)
    return 1.0 if found is None else max(0.0, found)


def leads(task: Task, module: nn.Module) -> np.ndarray:
    """By how much larger ``margin`` a model would have than members on forget rows, had it never seen them either.

    Args:
        task: gives rows and members.
        module: the model.

    Returns:
        ``(F,)``, in the order of the task's rows, as the coach tells it from the holdout; 0 where it cannot be read.
    """
    half, found = task.references, np.zeros(len(task.positions))
    own = half and gauge.lead(half.thinned, task.parts, task.alpha, Margin.name, module)
    if own:
        found[_places(task)] = np.concatenate(own)
    return found


def round_size(task: Task) -> int:
    """Rows that a Newton step matches."""
    copied = task.references is not None and task.references.copies.shape[2] > 0
    return (1 + copied) * len(task.positions)


def _shown(task: Task) -> tuple[Tensor, Tensor]:
    """The forget rows, then their copies, and the targets of all."""
    x, y = task.oracle.data.gather(task.positions)
    half = task.references
    shown = [x] if half is None else [x, *copies(x, half.copies.shape[2], half.meter.context)]
    return torch.cat(shown), torch.cat([y] * len(shown))


def _said(
    task: Task, asked: Callable[[ReferenceHalf, Sequence[Part]], list[Asked]], otherwise: Tensor | None = None
) -> Tensor:
    """What the members that are asked about each row say together, of it and of its copies, as one target each.

    In a pool with classes as groups, what a member says of a class that it lacks is what the others say of it.

    Returns:
        ``(F + K F, C)``, in the order of the task's rows; ``otherwise`` where nobody can be asked.
    """
    half, places, lacking = task.references, _places(task), _lacking(task)
    assert half is not None
    y = task.oracle.data.gather(task.positions)[1]
    said = None if otherwise is None else otherwise.reshape(-1, len(places), otherwise.shape[1]).clone()
    blocks = asked(half, task.parts)
    for (rows, shown), (_, members) in zip(half.shown(task.parts, blocks), blocks, strict=True):
        if lacking is not None:
            shown = [filled_in(outputs, lacking[torch.from_numpy(members)]) for outputs in shown]
        found = torch.stack([task.objective.target(outputs, y[places[rows]]) for outputs in shown])
        said = torch.zeros(len(found), len(places), found.shape[2]) if said is None else said
        said[:, places[rows]] = found
    assert said is not None
    return said.flatten(0, 1)


def _lacking(task: Task) -> Tensor | None:
    """Which members hold no row of which class, ``(M, C)``; None where the pool has no classes as groups."""
    half, labels = task.references, task.oracle.data.y.numpy()
    if half is None or half.half.held is None or not task.objective.counted or labels.ndim > 1:
        return None
    lacking = np.zeros((half.half.members, half.outputs.shape[2]), dtype=bool)
    for label in np.unique(labels).astype(int):
        lacking[:, label] = ~half.half.held[:, labels == label].any(1)
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
