"""Training on from given weights by the recipe's own means."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.methods.task import Task
from neuralyzer.models import training
from neuralyzer.models.placement import CPU
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress

FRESH = 1_000_003  # added to the seed: a network drawn anew is not what the original started from


def optimizer(recipe: Recipe, module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """A new optimizer of the recipe's kind, its learning rates multiplied by ``rate``."""
    made = recipe.optimizer(training.trainable(module))
    for group in made.param_groups:
        group["lr"] = group["lr"] * rate
    return made


def unscheduled(recipe: Recipe) -> Recipe:
    """The recipe at a constant rate: its schedule was made for training from scratch."""
    return replace(recipe, schedule=None)


def steps(task: Task, rows: int, epochs: int) -> int:
    """How many optimizer steps so many passes over so many rows take."""
    return epochs * math.ceil(rows / task.oracle.recipe.batch_size)


def fresh(task: Task) -> nn.Module:
    """The task's network, untrained."""
    return task.oracle.recipe.module(task.seed + FRESH)


def batches(recipe: Recipe, module: nn.Module, data: Data, epochs: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What ``numbered_batches`` gives, without the positions."""
    return (rows for _, rows in numbered_batches(recipe, module, data, epochs, seed))


def numbered_batches(
    recipe: Recipe, module: nn.Module, data: Data, epochs: int, seed: int
) -> Iterator[tuple[np.ndarray, tuple[Tensor, Tensor]]]:
    """Shuffled batches, augmented where the recipe augments.

    A last batch of one row is left out where BatchNorm takes its statistics from the batch.

    Args:
        recipe: gives batch size and augmentation.
        module: that is trained on them.
        data: the rows.
        epochs: passes over them.
        seed: of order and augmentation.

    Yields:
        Positions ``(B,)`` among the rows, and ``x (B, ...)`` and ``y (B, ...)``.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    for positions in training.order(len(data), epochs, recipe.batch_size, seed):
        if len(positions) == 1 < len(data) and training.normalises(module):
            continue
        x, y = data.gather(positions)
        yield positions, (x if recipe.augment is None else recipe.augment(x, generator), y)


def descend(module: nn.Module, optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], seed: int) -> Iterator[None]:
    """A step down each loss.

    Args:
        module: trained in place.
        optimizer: of its parameters.
        losses: computes each from the module as it then is.
        seed: of dropout.

    Yields:
        After each step.
    """
    module.train()
    with CPU.repeatable(seed):
        for loss in losses:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield
            module.train()


def mean_losses(task: Task, module: nn.Module, data: Data, epochs: int) -> Iterator[Tensor]:
    """The mean loss of each of ``batches``, of the module as it then is."""
    for x, y in batches(task.oracle.recipe, module, data, epochs, task.seed):
        yield task.objective.losses(task.objective.outputs(module, x), y).mean()


def trained(
    task: Task, module: nn.Module, rate: float, losses: Iterable[Tensor], progress: Progress, what: str, steps: int
) -> nn.Module:
    """Descend by the recipe's optimizer from where a module stands.

    Args:
        task: gives recipe and seed.
        module: trained in place.
        rate: learning rate, as a multiple of the recipe's.
        losses: as ``descend`` takes them.
        progress: shown each step, and the losses that are reached.
        what: the work, in a few words.
        steps: how many there will be.

    Returns:
        The module, in evaluation mode.
    """
    made = optimizer(task.oracle.recipe, module, rate)
    progress.start(what, steps)
    for _ in descend(module, made, losses, task.seed):
        progress.advance()
    task.show(progress, module)
    progress.finish()
    return module.eval()
