"""Training by a recipe; the same rows and seed give the same weights."""

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from neuralyzer import _moved
from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models.placement import CPU, Placement, Precision, convolves
from neuralyzer.progress import Progress, Silent

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe
else:
    __getattr__ = _moved.old_names(__name__, {"normalises": f"{__name__}.uses_batch_statistics"})


class Observer(Protocol):
    """A listener to the steps of a training, such as the recorder of its history."""

    def begin(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Note the start, before the first step."""

    def step(self, positions: np.ndarray) -> None:
        """Note a step that was taken on the rows at ``positions`` of the training data."""


def order(count: int, epochs: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Draw the positions of each step's rows.

    Args:
        count: number of rows ``N``.
        epochs: passes over the rows; each pass has every row once.
        batch_size: rows a step; the last step of a pass may be smaller.
        seed: of the random order of each pass.

    Yields:
        Positions ``(at most batch_size,)``, ``epochs * ceil(N / batch_size)`` times.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        permutation = torch.randperm(count, generator=generator).numpy()
        for start in range(0, count, batch_size):
            yield permutation[start : start + batch_size]


def steps_of(recipe: "Recipe", rows: int) -> int:
    """Return how many optimizer steps the recipe takes on ``rows`` rows, less those that BatchNorm drops.

    See ``run_steps`` for these.
    """
    single_row = rows > 1 and recipe.batch_size > 1 and rows % recipe.batch_size == 1  # in each pass's last batch
    dropped = single_row and uses_batch_statistics(recipe.module().train())
    return recipe.epochs * (math.ceil(rows / recipe.batch_size) - dropped)


def weights_of(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Parameter]:
    """Return the trained ``weight`` of each layer of some types by name, in the layers' order; tied ones once."""
    trained = {id(value): (name, value) for name, value in module.named_parameters() if value.requires_grad}
    weights = (id(layer.weight) for layer in module.modules() if isinstance(layer, kinds))
    return dict(trained[weight] for weight in weights if weight in trained)


def uses_batch_statistics(module: nn.Module) -> bool:
    """Return whether BatchNorm takes its statistics from the batch, which a batch of one row has none of."""
    return any(isinstance(layer, _BatchNorm) and layer.training for layer in module.modules())


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Return the module's trained parameters; tied ones once."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def train(
    recipe: "Recipe",
    data: Data,
    seed: int | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
    placement: Placement = CPU,
) -> nn.Module:
    """Train a new model: ``A(D)`` of the literature.

    Args:
        recipe: how to train.
        data: the training rows.
        seed: of initial weights, order and augmentation; the recipe's own by default.
        progress: shown a unit an epoch.
        observer: called at each step.
        placement: device and precision.

    Returns:
        The trained module, in evaluation mode, on the CPU.

    Raises:
        NotFiniteError: if a loss is NaN or infinite.
    """
    seed = recipe.seed if seed is None else seed
    return recipe.kind.train(recipe, data, seed, progress or Silent(), observer, placement)


def run_steps(
    recipe: "Recipe",
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    steps: Iterator[np.ndarray],
    seed: int,
    observer: Observer | None = None,
    done: int = 0,
    placement: Placement = CPU,
) -> Iterator[torch.Tensor]:
    """Take optimizer steps on given rows.

    Where the recipe averages its weights, the module has the average once the last step is taken. A batch of one row is
    left out where BatchNorm takes its statistics from the batch: one row has none. Images are trained on channels last;
    the module's own layout stays.

    Args:
        recipe: gives objective, schedule, augmentation, clipping and averaging.
        module: trained in place.
        optimizer: of its parameters.
        data: the training rows.
        steps: positions of each step's rows.
        seed: of dropout and augmentation.
        observer: called after each step.
        done: steps of the recipe's schedule that were taken before.
        placement: device and precision.

    Yields:
        Each step's mean loss, detached.

    Raises:
        UsageError: if the recipe averages its weights and steps were taken already.
    """
    schedule = _scheduled(recipe, optimizer, len(data), done)
    if recipe.average is not None and done:
        raise UsageError("the recipe averages its weights, and no record has the average: it cannot be gone on with")
    if recipe.precision == Precision.BF16:
        placement = replace(placement, precision=Precision.BF16)
    average = None if recipe.average is None else copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed + 1)
    module.train()
    images, drop_single_rows = convolves(module), recipe.batch_size > 1 and uses_batch_statistics(module)
    kept_steps = (positions for positions in steps if len(positions) != 1 or not drop_single_rows)
    with placement.repeatable(seed):  # dropout draws from torch's global generator
        for positions in kept_steps:
            x, y = data.gather(positions)
            if recipe.augment is not None:
                x = recipe.augment(x, generator)
            x, y = placement.rows(x, y, images)
            loss = _step(recipe, module, optimizer, x, y, placement)
            if average is not None and recipe.average is not None:
                _update_average(average, module, recipe.average)
            if schedule is not None:
                schedule.step()
            if observer is not None:
                observer.step(positions)
            yield loss.detach()
    if average is not None:
        module.load_state_dict(average.state_dict())


def _step(
    recipe: "Recipe",
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Inputs,
    y: torch.Tensor,
    placement: Placement,
) -> torch.Tensor:
    """Take one optimizer step on a batch, forwarded in ``portions``, and return its mean loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=y.device)
    for rows in portions(x, recipe.batch_tokens):
        with placement.computing():
            part = batches.trimmed(batches.take(x, rows))
            share = recipe.objective.losses(recipe.objective.outputs(module, part), y[rows]).sum() / len(y)
        share.backward()  # type: ignore[no-untyped-call]
        loss = loss + share.detach()
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_(trainable(module), recipe.clip)
    optimizer.step()
    return loss


def portions(x: Inputs, most: int | None, members: int = 1) -> list[slice | torch.Tensor]:
    """Return which rows of a batch are forwarded together, so that their gradients are added up.

    Args:
        x: the batch, ``(M n, ...)``, ``n`` rows of each member in turn.
        most: tokens of a portion, padding included; one row of each member may have more. None for no limit.
        members: ``M``.

    Returns:
        The whole batch where there is no limit, or the rows are no tokens; else positions, shortest rows first: of as
        many rows of each member, in the members' order.
    """
    if most is None or isinstance(x, torch.Tensor) or batches.MASK not in x:
        return [slice(None)]
    order = batches.lengths(x).reshape(members, -1).argsort(dim=1, stable=True)
    each = order.shape[1]
    order = order + each * torch.arange(members, device=order.device)[:, None]
    widest = {batches.MASK: x[batches.MASK][order].amax(0)}  # of the members' shortest rows, of their next, and so on
    return [order[:, rows].reshape(-1) for rows in batches.spans(widest, each, most // members)]


def _scheduled(
    recipe: "Recipe", optimizer: torch.optim.Optimizer, rows: int, done: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """Return the recipe's schedule after ``done`` steps; None where the rate is constant."""
    if recipe.schedule is None:
        return None
    if done:
        for group in optimizer.param_groups:  # a recorded state has the rate of its step; the schedule starts anew
            group["lr"] = group.get("initial_lr", group["lr"])
    schedule = recipe.schedule(optimizer, steps_of(recipe, rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns unless each follows an optimizer step
        for _ in range(done):
            schedule.step()
    return schedule


@torch.no_grad()
def _update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Update the average of the weights by one step; buffers, such as BatchNorm's statistics, are copied."""
    for averaged, present in zip(average.parameters(), module.parameters(), strict=True):
        averaged.lerp_(present, 1 - decay)
    for buffer, present_buffer in zip(average.buffers(), module.buffers(), strict=True):
        buffer.copy_(present_buffer)
