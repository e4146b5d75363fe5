"""What a signal is, and what it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
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

    x: Inputs
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Any) -> "Batch":
        """Some rows: a slice, positions or a mask."""
        return Batch(batches.take(self.x, rows), self.y[rows])


@dataclass(frozen=True)
class Context:
    """What every model of a pool is read with, so that readings compare.

    Attributes:
        objective: of the models.
        spread: what rows are perturbed by, see ``spread``: of features their standard deviation over the
            training rows, shaped like one row; of tokens how often each stands there.
        augment: the recipe's augmentation, or None.
        seed: of perturbations; the same copies for every model.
        settings: by signal, what its ``prepare`` found on the tuning split.
        chunk: rows read at once.
    """

    objective: Objective
    spread: Tensor
    augment: object = None
    seed: int = 0
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chunk: int = 4096

    @classmethod
    def of(cls, recipe: Recipe, x: Inputs, seed: int = 0) -> "Context":
        """A context without settings, its spread from inputs ``x (N, ...)``."""
        return cls(recipe.objective, spread(x), recipe.augment, seed)


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
        """Settings of this signal, from the tuning split alone; empty where it has none."""

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


def join(parts: Sequence[Batch]) -> Batch:
    """Several batches as one."""
    return Batch(batches.join([own.x for own in parts]), torch.cat([own.y for own in parts]))


def spread(x: Inputs) -> Tensor:
    """What the inputs of rows vary by.

    Args:
        x: training rows ``(N, ...)``.

    Returns:
        Of features the standard deviation of each, shaped like one row; of several inputs by name theirs one after the
        other; of tokens the share of each id among all of them ``(V,)``.
    """
    if isinstance(x, Tensor):
        return x.float().std(0)
    if batches.MASK in x:
        ids = x[batches.IDS][x[batches.MASK].bool()]
        return torch.bincount(ids).float() / len(ids)
    return torch.cat([own.float().std(0).flatten() for own in batches.tensors(x)])
