"""Refined-unlearning meta-algorithm: memorised, middling and plain forget rows each by an algorithm of their own."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import catalogue
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Rum:
    """Split the forget rows by memorisation, then unlearn part after part (Zhao et al. 2024, arXiv 2406.01257, section 5).

    A row's memorisation is Feldman's: how much more probable its class is to models that saw it than to models that did
    not, here over the tuning members. The paper orders the parts from the least memorised to the most and picks for each
    the algorithm that does best on rows of its kind; which these are, and the thirds, are from memory.

    Attributes:
        low: algorithm for the least memorised third; ``finetune`` and its like leave such rows as they should be.
        middle: for the third between.
        high: for the most memorised third.
    """

    low: str = "finetune"
    middle: str = "salun"
    high: str = "neggrad-plus"

    name: ClassVar[str] = "rum"
    summary: ClassVar[str] = "split the forget rows by memorisation, an algorithm for each part"
    paper: ClassVar[str] = "Zhao et al. 2024, arXiv 2406.01257"
    guarantee: ClassVar[Guarantee] = Guarantee.WEAK
    needs: ClassVar[frozenset[Need | Capability]] = frozenset(
        {Need.RETAIN, Need.FORGET, Need.REFERENCES, Need.CLASSES, Capability.CONTINUED}
    )
    expected: ClassVar[Expectation] = Expectation(trace=0.37, utility_loss=-0.001)
    repaired: ClassVar[bool] = False

    def _names(self) -> tuple[str, str, str]:
        return self.low, self.middle, self.high

    def passes(self, task: Task) -> Passes:
        """Each part's algorithm on a third of the forget rows."""
        total = Passes()
        for name, rows in zip(self._names(), _thirds(np.arange(len(task.positions))), strict=True):
            if len(rows):
                total = total + catalogue.make(name).passes(task.part(task.positions[rows]))
        return total

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """The least memorised rows first, each part from where the last one left the model."""
        progress, module = progress or Silent(), task.model
        order = np.argsort(memorisation(task), kind="stable")
        for name, rows in zip(self._names(), _thirds(order), strict=True):
            if len(rows):
                own = task.part(np.sort(task.positions[rows])).going_on_from(module)
                module = catalogue.make(name).unlearn(own, progress)
            if task.late:
                break
        return module


def _thirds(order: np.ndarray) -> list[np.ndarray]:
    return np.array_split(order, 3)


def memorisation(task: Task) -> np.ndarray:
    """How much more probable each forget row's class is to tuning members that saw it than to the others.

    Feldman 2020 (arXiv 1906.05271, equation 1), with the probability in place of the chance of being right, which a few
    members tell too coarsely.

    Args:
        task: with references.

    Returns:
        ``(F,)``, in the order of ``task.positions``; 0 where no member did or all did see the row.
    """
    assert task.references is not None
    split, found = task.references, np.zeros(len(task.positions))
    places = {int(position): place for place, position in enumerate(task.positions)}
    for part in task.parts:
        saw = split.values.keep[:, part.subject]
        if saw.all() or not saw.any():
            continue
        y = task.oracle.data.gather(part.rows)[1]
        outputs = torch.from_numpy(split.outputs[:, part.rows])
        right = np.stack([torch.exp(-task.objective.losses(own, y)).double().numpy() for own in outputs])
        held, asked = split.values.rows_held(part.subject, part.rows), split.values.comparable(part.subject, part.rows)
        seen, never = (right[saw] * held).sum(0) / np.maximum(held.sum(0), 1), (right * asked).sum(0) / asked.sum(0)
        found[[places[int(row)] for row in part.rows]] = np.where(held.any(0), seen - never, 0.0)
    return found
