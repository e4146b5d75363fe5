"""Refined-unlearning meta-algorithm: forget rows of low, middle and high memorisation get an algorithm each."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.methods import catalogue
from neuralyzer.models.capabilities import Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning.method import Expectation, Need, Passes
from neuralyzer.unlearning.task import Task


@dataclass(frozen=True)
class Rum:
    """Split the forget rows by memorisation and unlearn the parts in turn (Zhao et al. 2024, arXiv 2406.01257).

    Memorisation is Feldman's: how much more probable a row's class is to models that saw the row than to models that
    did not, here over the tuning members. The paper orders the parts from the least memorised to the most and uses for
    each the algorithm that does best on such rows (section 5). Its choice of algorithms and the thirds are from memory.

    Attributes:
        low: algorithm for the least memorised third, for which fine-tuning is enough.
        middle: algorithm for the middle third.
        high: algorithm for the most memorised third.
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
        """Return the parts' algorithms, those of the least memorised rows first."""
        return self.low, self.middle, self.high

    def passes(self, task: Task) -> Passes:
        """Return the work of each part's algorithm on a third of the forget rows."""
        total = Passes()
        for name, rows in zip(self._names(), _thirds(np.arange(len(task.positions))), strict=True):
            if len(rows):
                total = total + catalogue.make(name).passes(task.part(task.positions[rows]))
        return total

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Unlearn the least memorised rows first; each part begins with the model that the one before left."""
        progress, module = progress or Silent(), task.model
        order = np.argsort(memorisation(task), kind="stable")
        for name, rows in zip(self._names(), _thirds(order), strict=True):
            if len(rows):
                part = task.part(np.sort(task.positions[rows])).going_on_from(module)
                module = catalogue.make(name).unlearn(part, progress)
            if task.time_is_up:
                break
        return module


def _thirds(order: np.ndarray) -> list[np.ndarray]:
    """Return an array in three parts of about equal length."""
    return np.array_split(order, 3)


def memorisation(task: Task) -> np.ndarray:
    """Return how much more probable each forget row's class is to tuning members that saw the row than to the others.

    Feldman 2020 (arXiv 1906.05271, equation 1), with the probability of the class in place of the rate of correct
    predictions, which would be too coarse over a few members.

    Args:
        task: with references.

    Returns:
        ``(F,)``, in the order of ``task.positions``; 0 where no member did or all did see the row.
    """
    assert task.references is not None
    split, scores = task.references, np.zeros(len(task.positions))
    places = {int(position): place for place, position in enumerate(task.positions)}
    for part in task.parts:
        saw = split.values.keep[:, part.subject]
        if saw.all() or not saw.any():
            continue
        y = task.oracle.data.gather(part.rows)[1]
        outputs = torch.from_numpy(split.outputs[:, part.rows])
        losses = [task.objective.losses(of_member, y) for of_member in outputs]
        probabilities = np.stack([torch.exp(-loss).double().numpy() for loss in losses])
        held = split.values.rows_held(part.subject, part.rows)
        unseen = split.values.comparable(part.subject, part.rows)
        seen = (probabilities[saw] * held).sum(0) / np.maximum(held.sum(0), 1)
        never = (probabilities * unseen).sum(0) / unseen.sum(0)
        scores[[places[int(row)] for row in part.rows]] = np.where(held.any(0), seen - never, 0.0)
    return scores
