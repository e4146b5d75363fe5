"""What a signal is, and what it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.objective import Objective
from neuralyzer.models.recipe import Recipe


class Family(StrEnum):
    """The five families of verification (Xu et al. 2023, arXiv 2306.03558, section 5)."""

    RETRAINING = "retraining"
    ATTACK = "attack"
    RELEARNING = "relearning"
    ACCURACY = "accuracy"
    INFORMATION = "information"


@dataclass(frozen=True)
class Batch:
    """Rows in memory: ``x (n, ...)`` and ``y (n, ...)``."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Context:
    """What every model of a pool is read with, so that readings compare.

    Attributes:
        objective: of the models.
        spread: standard deviation of each feature over the training rows, shaped like one row.
        augment: the recipe's augmentation, or None.
        seed: of perturbations; the same copies for every model.
        settings: by signal, what its ``prepare`` found on the tuning half.
        chunk: rows read at once.
    """

    objective: Objective
    spread: Tensor
    augment: object = None
    seed: int = 0
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chunk: int = 4096

    @classmethod
    def of(cls, recipe: Recipe, x: Tensor, seed: int = 0) -> "Context":
        """A context without settings, its spread from features ``x (N, ...)``."""
        return cls(recipe.objective, x.float().std(0), recipe.augment, seed)


@dataclass(frozen=True)
class Sample:
    """A tuning member with rows that it saw and rows that it never saw, for a signal to set itself by.

    Attributes:
        model: the member.
        seen: rows of subjects that it saw, one batch a subject.
        never: rows of subjects that it never saw, one batch a subject.
    """

    model: nn.Module
    seen: Sequence[Batch]
    never: Sequence[Batch]


class Signal(Protocol):
    """One number a row, higher where the model knows the row better.

    Attributes:
        name: unique; the column of every table.
        family: of verification.
        per_unit: whether all of a subject's rows must be read together, so that each subject has its own holdout
            reading (relearning); else rows are read independently.
        needs_weights: whether it needs more than the model's outputs: weights, gradients. A model of which only
            answers can be had (``models.black_box``) is read without it; so it is where a class does not say.
        needs: what the kind of model must be able to do; nothing where a class does not say.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    per_unit: ClassVar[bool]
    needs_weights: ClassVar[bool]
    needs: ClassVar[frozenset[Capability]]

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Settings of this signal, from the tuning half alone; empty where it has none."""

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Read a model, in evaluation mode and without changing it.

        Returns:
            Readings on ``rows (n,)`` and on ``holdout (H,)``.
        """


def measure_units(
    signal: Signal, model: nn.Module, units: Sequence[Batch], holdout: Batch, context: Context
) -> list[tuple[Tensor, Tensor]]:
    """A per-unit signal's readings of many subjects; faster where it has a way of its own, ``measure_units``."""
    together = getattr(signal, "measure_units", None)
    if together is not None:
        return list(together(model, units, holdout, context))
    return [signal.measure(model, unit, holdout, context) for unit in units]


def join(batches: Sequence[Batch]) -> Batch:
    """Several batches as one."""
    return Batch(torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches]))
