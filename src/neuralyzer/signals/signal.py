"""The protocol of a signal, and the context in which it reads a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from neuralyzer import _moved
from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.paraphrases import Paraphrases
from neuralyzer.models.capabilities import Capability
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
        """Return some rows, by a slice, positions or a mask."""
        return Batch(batches.take(self.x, rows), self.y[rows])


@dataclass(frozen=True)
class Context:
    """The settings by which every model of a pool is read, so that signal values are comparable.

    Attributes:
        objective: of the models.
        spread: scale of perturbations, see the function ``spread``: the features' standard deviation over the training
            rows, shaped like one row; for tokens, the frequency of each.
        augment: the recipe's augmentation, or None.
        seed: of perturbations; the copies are the same for every model.
        settings: by signal, what its ``prepare`` found on the tuning split.
        chunk: number of rows that are read at once.
        elsewhere: holdout rows that a signal may train copies of a model on; None where no signal does.
        paraphrases: of the training rows' prompts; None where no file has them.
    """

    objective: Objective
    spread: Tensor
    augment: object = None
    seed: int = 0
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chunk: int = 4096
    elsewhere: Batch | None = None
    paraphrases: Paraphrases | None = None

    @classmethod
    def of(cls, recipe: Recipe, x: Inputs, seed: int = 0) -> "Context":
        """Return a context without settings, its spread from inputs ``x (N, ...)``."""
        return cls(recipe.objective, spread(x), recipe.augment, seed)


@dataclass(frozen=True)
class Sample:
    """A tuning member with rows that it saw and rows that it never saw, from which a signal finds its settings.

    Attributes:
        model: the member.
        seen: rows of subjects that it saw, one batch per subject.
        never: rows of subjects that it never saw, one batch per subject.
    """

    model: nn.Module
    seen: Sequence[Batch]
    never: Sequence[Batch]


class Signal(Protocol):
    """A signal: one number per row, higher where the model knows the row better.

    Attributes:
        name: unique; the column of every table.
        family: of verification.
        per_unit: whether all of a subject's rows must be read together, so that each subject has holdout values of its
            own (relearning); else rows are read independently.
        needs: capabilities that the model must have. A signal that needs any does not read a black box, which gives
            outputs alone. A class without the attribute is taken to need weights, and no capability of the kind.

    A class may have ``optional = True``: then references are read by it only where they were asked to be.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    per_unit: ClassVar[bool]
    needs: ClassVar[frozenset[Capability]]

    def prepare(self, samples: Sequence[Sample], context: Context) -> dict[str, float]:
        """Return the settings of this signal, found on the tuning split alone; empty where it has none."""

    def measure(self, model: nn.Module, rows: Batch, holdout: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """Read a model, in evaluation mode and without changing it.

        Returns:
            Values on ``rows (n,)`` and on ``holdout (H,)``.
        """


def measure_units(
    signal: Signal, model: nn.Module, units: Sequence[Batch], holdout: Batch, context: Context
) -> list[tuple[Tensor, Tensor]]:
    """Read a model on many subjects by a per-unit signal; by its own ``measure_units`` if it has one."""
    many = getattr(signal, "measure_units", None)
    if many is not None:
        return list(many(model, units, holdout, context))
    return [signal.measure(model, unit, holdout, context) for unit in units]


def join(parts: Sequence[Batch]) -> Batch:
    """Join several batches to one."""
    return Batch(batches.join([part.x for part in parts]), torch.cat([part.y for part in parts]))


def spread(x: Inputs) -> Tensor:
    """Return the scale by which the inputs of rows are perturbed.

    Args:
        x: training rows ``(N, ...)``.

    Returns:
        For features, the standard deviation of each, shaped like one row; for several named inputs, those of all, one
        after the other; for tokens, the share of each id among all tokens, ``(V,)``.
    """
    if isinstance(x, Tensor):
        return x.float().std(0)
    if batches.MASK in x:
        ids = x[batches.IDS][x[batches.MASK].bool()]
        return torch.bincount(ids).float() / len(ids)
    return torch.cat([part.float().std(0).flatten() for part in batches.tensors(x)])


def needs_weights(signal: Signal) -> bool:
    """Return whether a signal needs more than outputs; by its old attribute ``needs_weights`` where it has one."""
    declared = getattr(signal, "needs_weights", None)
    if declared is not None:
        _moved.warn(f"{type(signal).__name__}.needs_weights", "needs")
        return bool(declared)
    needs: frozenset[Capability] | None = getattr(signal, "needs", None)
    return needs is None or bool(needs)
