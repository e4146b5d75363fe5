"""Sharded and sliced training, so that what a row touched can be trained again without it (SISA)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

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
    """The ``train=`` of a recipe whose model is ``shards`` models, each trained on rows of its own in ``slices`` stages.

    Subjects are dealt in drawn order to the shard with the fewest rows, and within it to the slice with the fewest. In
    stage ``r`` a shard's model goes on from where it stands over its slices 1 to ``r``, for ``2 e / (R + 1)`` passes with
    a new optimizer: the work of ``e`` passes without slices (Bourtoule et al. 2021, arXiv 1912.03817, sections IV and
    V, from memory). ``recipe`` is what a model is then trained by::

        recipe = Sharded(Recipe(build), "shards").recipe

    The first training is recorded in the folder: a checkpoint before each stage, and which row is in which slice. Later
    ones are not, for such are those of references. Checkpoints saw rows; ``shard_record.erase`` deletes those that did.

    Attributes:
        base: how one shard's model is built and trained.
        folder: of the record.
        shards: ``S``.
        slices: ``R``.
        aggregation: how the models answer as one: by votes, as in the paper, or by the mean of their outputs.
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
        """The models, untrained."""
        return Ensemble([self.base.build() for _ in range(self.shards)], self.aggregation)

    def first(self, shard: int, seed: int) -> nn.Module:
        """A shard's model before its first stage."""
        return self.base.module(_seed(seed, shard))

    def __call__(self, data: Data, seed: int, device: torch.device, progress: Progress) -> Ensemble:
        """Train on ``data``, and record it where the folder holds no record yet."""
        dealt = deal(data, self.shards, self.slices, seed)
        if Record.all(self.folder):
            return self.train(data, dealt, seed, Placement(device), progress)
        with Writer(self.folder) as writer:
            ensemble = self.train(data, dealt, seed, Placement(device), progress, writer.keep)
            writer.finish(ensemble, data, [[data.ids[rows].tolist() for rows in own] for own in dealt], seed)
        return ensemble

    def train(
        self,
        data: Data,
        dealt: Sequence[Slices],
        seed: int,
        placement: Placement = CPU,
        progress: Progress | None = None,
        keep: Keep | None = None,
    ) -> Ensemble:
        """Train all shards from scratch.

        Args:
            data: the rows.
            dealt: positions of the rows of each shard's slices.
            seed: of weights, order and augmentation.
            placement: device and precision.
            progress: shown each step.
            keep: takes shard, stage and module before each stage.

        Returns:
            The ensemble, in evaluation mode, on the CPU.
        """
        progress, ensemble = progress or Silent(), self.recipe.module(seed)
        assert isinstance(ensemble, Ensemble)
        progress.start("training shards", sum(self.steps(own) for own in dealt))
        for shard, own in enumerate(dealt):
            module = self.first(shard, seed)
            for _ in self.grow(module, data, own, shard, seed, placement=placement, keep=keep):
                progress.advance()
            put(ensemble, shard, module, own)
        progress.finish()
        return ensemble.eval()

    def grow(
        self,
        module: nn.Module,
        data: Data,
        own: Slices,
        shard: int,
        seed: int,
        begin: int = 0,
        placement: Placement = CPU,
        keep: Keep | None = None,
        watch: Callable[[Data], training.Observer] | None = None,
    ) -> Iterator[None]:
        """Take a shard's model through its stages, from one on.

        Args:
            module: as it stands before stage ``begin``; trained in place.
            data: the rows.
            own: positions of the rows of the shard's slices.
            shard: its number.
            seed: of the whole training.
            begin: the first stage that is taken, counted from 0.
            placement: device and precision.
            keep: takes shard, stage and module before each stage.
            watch: gives the observer of a stage's steps from its rows.

        Yields:
            After each step.

        Raises:
            NotFiniteError: if a loss is NaN or infinite.
        """
        module.to(placement.device)
        recipe = replace(self.base, epochs=self._passes)
        for stage in range(begin, len(own)):
            if keep is not None:
                keep(shard, stage, module)
            rows, drawn = data.select(_until(own, stage)), _seed(seed, shard, stage)
            if not len(rows):
                continue
            optimizer = recipe.optimizer(training.trainable(module))
            order = training.order(len(rows), recipe.epochs, recipe.batch_size, drawn)
            observer = None if watch is None else watch(rows)
            last = torch.zeros(())
            for loss in training.run_steps(recipe, module, optimizer, rows, order, drawn, observer, 0, placement):
                last = loss
                yield
            if not math.isfinite(float(last)):
                raise NotFiniteError(f"the loss of shard {shard} is {float(last)} after stage {stage}; lower the rate")

    def steps(self, own: Slices, begin: int = 0) -> int:
        """How many steps a shard's stages take, from one on."""
        sizes = np.cumsum([len(rows) for rows in own])[begin:]
        return self._passes * sum(math.ceil(int(size) / self.base.batch_size) for size in sizes)

    @property
    def _passes(self) -> int:
        return max(1, round(2 * self.base.epochs / (self.slices + 1)))


def put(ensemble: Ensemble, shard: int, module: nn.Module, own: Slices) -> None:
    """Let a model answer for a shard; one without rows is not asked."""
    ensemble.members[shard].load_state_dict(module.state_dict())
    ensemble.active[shard] = float(any(len(rows) for rows in own))


def deal(data: Data, shards: int, slices: int, seed: int) -> list[list[np.ndarray]]:
    """Deal subjects to shards and, within these, to slices, so that each has about as many rows.

    Args:
        data: the rows.
        shards: how many.
        slices: of each.
        seed: of the order in which subjects are dealt.

    Returns:
        Sorted positions of the rows of each shard's slices; some are empty where there are too few subjects.
    """
    names, owner = texts.coded(data.subjects)
    sizes = np.bincount(owner, minlength=len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    shard = _dealt(order, sizes, shards)
    place = np.empty(len(names), np.int64)
    for number in range(shards):
        mine = order[shard[order] == number]
        place[mine] = _dealt(mine, sizes, slices)[mine]
    return [
        [np.flatnonzero((shard[owner] == number) & (place[owner] == part)) for part in range(slices)]
        for number in range(shards)
    ]


def _dealt(order: np.ndarray, sizes: np.ndarray, parts: int) -> np.ndarray:
    """The part of each subject, dealt in order to the part with the fewest rows; the first of equals."""
    found, filled = np.zeros(len(sizes), np.int64), np.zeros(parts, np.int64)
    for subject in order:
        found[subject] = filled.argmin()
        filled[found[subject]] += sizes[subject]
    return found


def _until(own: Slices, stage: int) -> np.ndarray:
    return np.sort(np.concatenate(own[: stage + 1]))


def _seed(*numbers: int) -> int:
    """A seed for a shard, or for one of its stages, that depends on nothing else."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
