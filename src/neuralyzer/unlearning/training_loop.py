"""Training on from given weights by the recipe's own means."""

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

TURN = 1000  # added to the seed for each pass that is drawn by itself
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


def seed_of(task: Task, turn: int) -> int:
    """The seed of what a pass draws, by its number from 0."""
    return task.seed + TURN * turn


def fresh(task: Task) -> nn.Module:
    """The task's network, untrained."""
    return task.oracle.recipe.module(task.seed + FRESH)


def batches(recipe: Recipe, module: nn.Module, data: Data, epochs: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
    """What ``numbered_batches`` gives, without the positions."""
    return (rows for _, rows in numbered_batches(recipe, module, data, epochs, seed))


def numbered_batches(
    recipe: Recipe, module: nn.Module, data: Data, epochs: int, seed: int
) -> Iterator[tuple[np.ndarray, tuple[Inputs, Tensor]]]:
    """Shuffled batches, augmented where the recipe augments.

    A last batch of one row is left out where BatchNorm takes its statistics from the batch. Where there is but one row,
    the module is put into evaluation mode for it, and ``descend`` puts it back.

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
        if len(positions) == 1 and training.uses_batch_statistics(module):
            if len(data) > 1:
                continue
            module.eval()
        x, y = data.gather(positions)
        yield positions, (x if recipe.augment is None else recipe.augment(x, generator), y)


def descend(
    task: Task, module: nn.Module, optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], seed: int
) -> Iterator[None]:
    """A step down each loss, until the task's time is up; one at least.

    Args:
        task: has the time.
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
            if task.time_is_up:
                return
            module.train()


def mean_losses(task: Task, module: nn.Module, data: Data, epochs: int, turn: int = 0) -> Iterator[Tensor]:
    """The mean loss of each of ``batches``, of the module as it then is; other draws for another ``turn``."""
    for x, y in batches(task.oracle.recipe, module, data, epochs, seed_of(task, turn)):
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
    for _ in descend(task, module, made, losses, task.seed):
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
    """Descend pass by pass, each of which leaves a model that may be taken, until the task's time is up.

    Args:
        task: gives recipe and seed, and has the time.
        module: trained in place.
        rate: learning rate, as a multiple of the recipe's; or an optimizer that ``optimizer`` made, where its losses
            set
            a rate of their own before each step.
        losses: of a pass, by its number from 0; one without any ends it all.
        epochs: most passes.
        progress: shown each step, and the losses that are reached after each pass.
        what: the work, in a few words.
        steps: how many there will be.
        after: called after each step.
        schedule: factor of the rate in a pass, by its number from 0; 1 by default.

    Yields:
        A copy after each pass, in evaluation mode.
    """
    made = rate if isinstance(rate, torch.optim.Optimizer) else optimizer(task.oracle.recipe, module, rate)
    rates = [group["lr"] for group in made.param_groups]
    progress.start(what, steps)
    try:
        for turn in range(epochs):
            taken = 0
            if schedule is not None:
                for group, own in zip(made.param_groups, rates, strict=True):
                    group["lr"] = own * schedule(turn)
            for _ in descend(task, module, made, losses(turn), seed_of(task, turn)):
                if after is not None:
                    after()
                progress.advance()
                taken += 1
            if taken:
                task.show(progress, module)
                yield weights.clone(module).eval()
            if task.time_is_up or not taken:
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
    """``passes`` down the mean loss of ``rows``; the other arguments and what it gives are those of ``passes``."""
    return passes(
        task, module, rate, lambda turn: mean_losses(task, module, rows, 1, turn), epochs, progress, what,
        steps(task, len(rows), epochs), after, schedule,
    )  # fmt: skip


def last(states: Iterable[nn.Module]) -> nn.Module:
    """The last of some models."""
    *_, module = states
    return module
