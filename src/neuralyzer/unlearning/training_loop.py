"""The training loop of all algorithms that continue from given weights by the recipe's optimizer."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.models import training, weights
from neuralyzer.models.placement import CPU
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress
from neuralyzer.unlearning.task import Task

TURN = 1000  # added to the seed for each pass, so that passes draw different random numbers
FRESH = 1_000_003  # added to the seed of new weights, so that they are not the original's initial weights


def optimizer(recipe: Recipe, module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return a new optimizer of the recipe, with learning rates multiplied by ``rate``."""
    new = recipe.optimizer(training.trainable(module))
    for group in new.param_groups:
        group["lr"] = group["lr"] * rate
    return new


def unscheduled(recipe: Recipe) -> Recipe:
    """Return the recipe with a constant rate, since its schedule is for training from scratch."""
    return replace(recipe, schedule=None)


def steps(task: Task, rows: int, epochs: int) -> int:
    """Return the number of optimizer steps of ``epochs`` passes over ``rows`` rows."""
    return epochs * math.ceil(rows / task.oracle.recipe.batch_size)


def seed_of(task: Task, turn: int) -> int:
    """Return the seed of a pass, given its number from 0."""
    return task.seed + TURN * turn


def fresh(task: Task) -> nn.Module:
    """Return the task's network, untrained."""
    return task.oracle.recipe.module(task.seed + FRESH)


def batches(recipe: Recipe, module: nn.Module, data: Data, epochs: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
    """Return the batches of ``numbered_batches`` without their positions."""
    return (rows for _, rows in numbered_batches(recipe, module, data, epochs, seed))


def endless_batches(
    recipe: Recipe, module: nn.Module, data: Data, seed: int, stride: int = 1
) -> Iterator[tuple[Inputs, Tensor]]:
    """Yield the batches of pass after pass without end; ``stride`` is added to the seed for each."""
    for turn in itertools.count():
        yield from batches(recipe, module, data, 1, seed + stride * turn)


def numbered_batches(
    recipe: Recipe, module: nn.Module, data: Data, epochs: int, seed: int
) -> Iterator[tuple[np.ndarray, tuple[Inputs, Tensor]]]:
    """Yield shuffled batches, augmented where the recipe augments.

    A last batch of one row is left out where BatchNorm takes its statistics from the batch. Where there is only one row
    in all, the module is put into evaluation mode for it; ``descend`` puts it back into training mode.

    Args:
        recipe: has batch size and augmentation.
        module: the module that is trained on the batches.
        data: the rows.
        epochs: passes over them.
        seed: of order and augmentation.

    Yields:
        Positions ``(B,)`` among the rows, and ``x (B, ...)`` and ``y (B, ...)``.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    for positions in training.order(len(data), epochs, recipe.batch_size, seed):
        if len(positions) == 1 and training.uses_batch_statistics(module):
            if len(data) > 1:
                continue
            module.eval()
        x, y = data.gather(positions)
        yield positions, (x if recipe.augment is None else recipe.augment(x, generator), y)


def descend(
    task: Task, module: nn.Module, optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], seed: int
) -> Iterator[None]:
    """Take one step down each loss, until the task's time limit; at least one step is taken.

    Args:
        task: has the time limit.
        module: trained in place.
        optimizer: of its parameters.
        losses: an iterable that computes each loss when it is needed, from the module's present weights.
        seed: of dropout.

    Yields:
        Nothing, once after each step.
    """
    module.train()
    with CPU.repeatable(seed):
        for loss in losses:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield
            if task.time_is_up:
                return
            module.train()


def mean_losses(task: Task, module: nn.Module, data: Data, epochs: int, turn: int = 0) -> Iterator[Tensor]:
    """Yield the mean loss of each of ``batches`` at the module's present weights; ``turn`` is a part of the seed."""
    for x, y in batches(task.oracle.recipe, module, data, epochs, seed_of(task, turn)):
        yield task.objective.losses(task.objective.outputs(module, x), y).mean()


def trained(
    task: Task, module: nn.Module, rate: float, losses: Iterable[Tensor], progress: Progress, what: str, steps: int
) -> nn.Module:
    """Train a module on by the recipe's optimizer.

    Args:
        task: has recipe and seed.
        module: trained in place.
        rate: learning rate, as a multiple of the recipe's.
        losses: as ``descend`` takes them.
        progress: shown each step, and the final losses.
        what: name of the work in the progress.
        steps: number of steps that are expected.

    Returns:
        The module, in evaluation mode.
    """
    descent = optimizer(task.oracle.recipe, module, rate)
    progress.start(what, steps)
    for _ in descend(task, module, descent, losses, task.seed):
        progress.advance()
    task.show(progress, module)
    progress.finish()
    return module.eval()


def passes(
    task: Task,
    module: nn.Module,
    rate: float | torch.optim.Optimizer,
    losses: Callable[[int], Iterable[Tensor]],
    epochs: int,
    progress: Progress,
    what: str,
    steps: int,
    after: Callable[[], None] | None = None,
    schedule: Callable[[int], float] | None = None,
) -> Iterator[nn.Module]:
    """Train a module on pass by pass, until the task's time limit.

    Args:
        task: has recipe, seed and time limit.
        module: trained in place.
        rate: learning rate, as a multiple of the recipe's; or an optimizer that ``optimizer`` made, where ``losses``
            sets the rate before each step.
        losses: returns the losses of a pass, given its number from 0; a pass without losses ends the training.
        epochs: most passes.
        progress: shown each step, and the model's losses after each pass.
        what: name of the work in the progress.
        steps: number of steps that are expected.
        after: called after each step.
        schedule: factor of the rate in a pass, by its number from 0; 1 by default.

    Yields:
        A copy after each pass, in evaluation mode.
    """
    descent = rate if isinstance(rate, torch.optim.Optimizer) else optimizer(task.oracle.recipe, module, rate)
    rates = [group["lr"] for group in descent.param_groups]
    progress.start(what, steps)
    try:
        for turn in range(epochs):
            count = 0
            if schedule is not None:
                for group, initial in zip(descent.param_groups, rates, strict=True):
                    group["lr"] = initial * schedule(turn)
            for _ in descend(task, module, descent, losses(turn), seed_of(task, turn)):
                if after is not None:
                    after()
                progress.advance()
                count += 1
            if count:
                task.show(progress, module)
                yield weights.clone(module).eval()
            if task.time_is_up or not count:
                return
    finally:
        progress.finish()


def passes_over(
    task: Task,
    module: nn.Module,
    rate: float,
    rows: Data,
    epochs: int,
    progress: Progress,
    what: str,
    after: Callable[[], None] | None = None,
    schedule: Callable[[int], float] | None = None,
) -> Iterator[nn.Module]:
    """Return ``passes`` down the mean loss of ``rows``; the other arguments are those of ``passes``."""
    return passes(
        task, module, rate, lambda turn: mean_losses(task, module, rows, 1, turn), epochs, progress, what,
        steps(task, len(rows), epochs), after, schedule,
    )  # fmt: skip


def last(states: Iterable[nn.Module]) -> nn.Module:
    """Return the last of some models."""
    *_, module = states
    return module
