"""Sharded and sliced training (SISA), after which only the parts that a row influenced need training again."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from neuralyzer._moved import old_arguments
from neuralyzer.data import texts
from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UsageError
from neuralyzer.models import training
from neuralyzer.models.ensemble import Aggregation, Ensemble
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.shard_record import Record, Writer
from neuralyzer.progress import Progress, Silent

Slices = Sequence[np.ndarray]  # positions of the rows of each slice of one shard
Keep = Callable[[int, int, nn.Module], object]  # takes shard, stage and module before each stage


@dataclass(frozen=True)
class Sharded:
    """The ``train=`` of a recipe for an ensemble of ``shards`` models, each trained on its own rows in stages.

    Subjects are assigned in random order to the shard with the fewest rows, and within it to the slice with the fewest.
    In stage ``r`` a shard's model trains on over its slices 1 to ``r``, for ``2 e / (R + 1)`` passes with a new
    optimizer; all stages together are as much work as ``e`` passes without slices (Bourtoule et al. 2021, arXiv
    1912.03817, sections IV and V, from memory). Train with its ``recipe``::

        recipe = Sharded(Recipe(build), "shards").recipe

    The first training is recorded in the folder: a checkpoint before each stage, and which row is in which slice. Later
    trainings are not recorded: they are those of references. Checkpoints were trained on rows; ``shard_record.erase``
    deletes those that were trained on erased ones.

    Attributes:
        base: how one shard's model is built and trained.
        folder: of the record.
        shards: number of shards ``S``.
        slices: number of slices a shard ``R``.
        aggregation: how outputs are combined: by votes, as in the paper, or by their mean.
    """

    base: Recipe
    folder: str | Path
    shards: int = 5
    slices: int = 5
    aggregation: Aggregation | str = Aggregation.MEAN

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1:
            raise UsageError(f"shards ({self.shards}) and slices ({self.slices}) must be at least 1")
        if self.aggregation not in list(Aggregation):
            raise UsageError(f"aggregation is {self.aggregation!r}; it must be {' or '.join(Aggregation)}")
        if self.aggregation == Aggregation.VOTE and not self.base.objective.counted:
            raise UsageError("aggregation is 'vote', and votes are of classes; this model predicts real numbers")
        if not self.base.stepwise:
            raise UsageError("the recipe of a shard has train= or command=; shards are trained by build and optimizer")

    @property
    def recipe(self) -> Recipe:
        """The base's recipe with this training in place of its own."""
        return replace(self.base, build=self.build, init=None, train=self)

    def build(self) -> Ensemble:
        """Return the untrained ensemble."""
        return Ensemble([self.base.build() for _ in range(self.shards)], self.aggregation)

    def first(self, shard: int, seed: int) -> nn.Module:
        """Return a shard's model before its first stage."""
        return self.base.module(_seed(seed, shard))

    def __call__(self, data: Data, seed: int, device: torch.device, progress: Progress) -> Ensemble:
        """Train on ``data``, and record it where the folder holds no record yet."""
        shards = deal(data, self.shards, self.slices, seed)
        if Record.all(self.folder):
            return self.train(data, shards, seed, Placement(device), progress)
        with Writer(self.folder) as writer:
            ensemble = self.train(data, shards, seed, Placement(device), progress, writer.keep)
            ids = [[data.ids[rows].tolist() for rows in slices] for slices in shards]
            writer.finish(ensemble, data, ids, seed)
        return ensemble

    @old_arguments(dealt="shards")
    def train(
        self,
        data: Data,
        shards: Sequence[Slices],
        seed: int,
        placement: Placement = CPU,
        progress: Progress | None = None,
        keep: Keep | None = None,
    ) -> Ensemble:
        """Train all shards from scratch.

        Args:
            data: the rows.
            shards: positions of the rows of each shard's slices.
            seed: of weights, order and augmentation.
            placement: device and precision.
            progress: shown each step.
            keep: takes shard, stage and module before each stage.

        Returns:
            The ensemble, in evaluation mode, on the CPU.
        """
        progress, ensemble = progress or Silent(), self.recipe.module(seed)
        assert isinstance(ensemble, Ensemble)
        progress.start("training shards", sum(self.steps(slices) for slices in shards))
        for shard, slices in enumerate(shards):
            module = self.first(shard, seed)
            for _ in self.grow(module, data, slices, shard, seed, placement=placement, keep=keep):
                progress.advance()
            put(ensemble, shard, module, slices)
        progress.finish()
        return ensemble.eval()

    @old_arguments(own="slices", watch="make_observer")
    def grow(
        self,
        module: nn.Module,
        data: Data,
        slices: Slices,
        shard: int,
        seed: int,
        begin: int = 0,
        placement: Placement = CPU,
        keep: Keep | None = None,
        make_observer: Callable[[Data], training.Observer] | None = None,
    ) -> Iterator[None]:
        """Train a shard's model through its stages, beginning at one of them.

        Args:
            module: the model before stage ``begin``; trained in place.
            data: the rows.
            slices: positions of the rows of the shard's slices.
            shard: its number.
            seed: of the whole training.
            begin: the first stage that is trained, counted from 0.
            placement: device and precision.
            keep: takes shard, stage and module before each stage.
            make_observer: makes the observer of a stage's steps from the stage's rows.

        Yields:
            Nothing, once after each step.

        Raises:
            NotFiniteError: if a loss is NaN or infinite.
        """
        module.to(placement.device)
        recipe = replace(self.base, epochs=self._passes)
        for stage in range(begin, len(slices)):
            if keep is not None:
                keep(shard, stage, module)
            rows, stage_seed = data.select(_rows_until(slices, stage)), _seed(seed, shard, stage)
            if not len(rows):
                continue
            optimizer = recipe.optimizer(training.trainable(module))
            order = training.order(len(rows), recipe.epochs, recipe.batch_size, stage_seed)
            observer = None if make_observer is None else make_observer(rows)
            last = torch.zeros(())
            for loss in training.run_steps(recipe, module, optimizer, rows, order, stage_seed, observer, 0, placement):
                last = loss
                yield
            if not math.isfinite(float(last)):
                raise NotFiniteError(f"the loss of shard {shard} is {float(last)} after stage {stage}; lower the rate")

    @old_arguments(own="slices")
    def steps(self, slices: Slices, begin: int = 0) -> int:
        """Return the number of steps of a shard's stages, beginning at one of them."""
        sizes = np.cumsum([len(rows) for rows in slices])[begin:]
        return self._passes * sum(math.ceil(int(size) / self.base.batch_size) for size in sizes)

    @property
    def _passes(self) -> int:
        """Passes of each stage."""
        return max(1, round(2 * self.base.epochs / (self.slices + 1)))


def put(ensemble: Ensemble, shard: int, module: nn.Module, slices: Slices) -> None:
    """Make a trained model the ensemble's member for a shard; a shard without rows is inactive."""
    ensemble.members[shard].load_state_dict(module.state_dict())
    ensemble.active[shard] = float(any(len(rows) for rows in slices))


def deal(data: Data, shards: int, slices: int, seed: int) -> list[list[np.ndarray]]:
    """Assign subjects to shards and, within each, to slices, so that all have about equally many rows.

    Args:
        data: the rows.
        shards: number of shards.
        slices: number of slices of each.
        seed: of the order in which subjects are assigned.

    Returns:
        Sorted positions of the rows of each shard's slices; some are empty where there are too few subjects.
    """
    names, subject_of_row = texts.coded(data.subjects)
    sizes = np.bincount(subject_of_row, minlength=len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    shard_of = _assign(order, sizes, shards)
    slice_of = np.empty(len(names), np.int64)
    for number in range(shards):
        in_shard = order[shard_of[order] == number]
        slice_of[in_shard] = _assign(in_shard, sizes, slices)[in_shard]
    shard_of_row, slice_of_row = shard_of[subject_of_row], slice_of[subject_of_row]
    return [
        [np.flatnonzero((shard_of_row == number) & (slice_of_row == part)) for part in range(slices)]
        for number in range(shards)
    ]


def _assign(order: np.ndarray, sizes: np.ndarray, parts: int) -> np.ndarray:
    """Return the part of each subject; each in turn goes to the part with the fewest rows, the first of equals.

    Args:
        order: subjects in the order in which they are assigned.
        sizes: rows of each subject.
        parts: number of parts.

    Returns:
        Part numbers by subject; 0 for subjects that are not in ``order``.
    """
    assigned, filled = np.zeros(len(sizes), np.int64), np.zeros(parts, np.int64)
    for subject in order:
        assigned[subject] = filled.argmin()
        filled[assigned[subject]] += sizes[subject]
    return assigned


def _rows_until(slices: Slices, stage: int) -> np.ndarray:
    """Return the sorted positions of the rows that a stage trains on: those of its slice and all before."""
    return np.sort(np.concatenate(slices[: stage + 1]))


def _seed(*numbers: int) -> int:
    """Return a seed derived from the training's seed and the numbers of a shard and a stage."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
