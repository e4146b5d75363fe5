"""Training by a recipe, deterministic by seed: the same rows and seed give the same weights."""

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

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models.placement import CPU, Placement, Precision, convolves
from neuralyzer.progress import Progress, Silent

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe


class Observer(Protocol):
    """Sees each step of a training: the recorder of its history is one."""

    def begin(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Before the first step."""

    def step(self, positions: np.ndarray) -> None:
        """After a step on the rows at ``positions`` of the training data."""


def order(count: int, epochs: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Positions of each step's rows.

    Args:
        count: rows ``N``.
        epochs: passes; each row stands once in each.
        batch_size: rows a step; the last step of a pass may be smaller.
        seed: of the passes' orders.

    Yields:
        Positions ``(at most batch_size,)``, ``epochs * ceil(N / batch_size)`` times.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        passing = torch.randperm(count, generator=generator).numpy()
        for start in range(0, count, batch_size):
            yield passing[start : start + batch_size]


def steps_of(recipe: "Recipe", rows: int) -> int:
    """How many optimizer steps the recipe takes on ``rows`` rows; see ``run_steps`` for the one that BatchNorm drops."""
    lone = rows > 1 and recipe.batch_size > 1 and rows % recipe.batch_size == 1
    dropped = lone and normalises(recipe.module().train())
    return recipe.epochs * (math.ceil(rows / recipe.batch_size) - dropped)


def weights_of(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Parameter]:
    """The trained ``weight`` of each layer of some kinds, in their order and by name; tied ones once."""
    trained = {id(value): (name, value) for name, value in module.named_parameters() if value.requires_grad}
    found = (id(layer.weight) for layer in module.modules() if isinstance(layer, kinds))
    return dict(trained[own] for own in found if own in trained)


def normalises(module: nn.Module) -> bool:
    """Whether BatchNorm takes its statistics from the batch: it has none of a single row."""
    return any(isinstance(layer, _BatchNorm) and layer.training for layer in module.modules())


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The module's parameters that are trained; tied ones once."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def train(
    recipe: "Recipe",
    data: Data,
    seed: int | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
    placement: Placement = CPU,
) -> nn.Module:
    """Train a new model: A(D).

    Args:
        recipe: how.
        data: the training rows.
        seed: of initial weights, order and augmentation; the recipe's own by default.
        progress: shown a unit an epoch.
        observer: sees each step.
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
    """Take optimizer steps on given rows, ``done`` of the recipe's having been taken already.

    Where the recipe averages its weights, the module has the average once the last step is taken.

    A last batch of one row is left out where BatchNorm takes its statistics from the batch: one row has none. Images
    lie channels last while they are trained on; the module's own layout stays.

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
    mean = None if recipe.average is None else copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed + 1)
    module.train()
    images, lone = convolves(module), recipe.batch_size > 1 and normalises(module)
    with placement.repeatable(seed):  # dropout draws from torch's global generator
        for positions in steps:
            if lone and len(positions) == 1:
                continue
            x, y = data.gather(positions)
            if recipe.augment is not None:
                x = recipe.augment(x, generator)
            x, y = placement.rows(x, y, images)
            optimizer.zero_grad(set_to_none=True)
            with placement.computing():
                loss = recipe.objective.losses(recipe.objective.outputs(module, x), y).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(trainable(module), recipe.clip)
            optimizer.step()
            if mean is not None and recipe.average is not None:
                _averaged(mean, module, recipe.average)
            if schedule is not None:
                schedule.step()
            if observer is not None:
                observer.step(positions)
            yield loss.detach()
    if mean is not None:
        module.load_state_dict(mean.state_dict())


def _scheduled(
    recipe: "Recipe", optimizer: torch.optim.Optimizer, rows: int, done: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """The recipe's schedule, where ``done`` steps left it; None where the rate is constant."""
    if recipe.schedule is None:
        return None
    if done:
        for group in optimizer.param_groups:  # a recorded state has the rate that its schedule had come to
            group["lr"] = group.get("initial_lr", group["lr"])
    schedule = recipe.schedule(optimizer, steps_of(recipe, rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch wants an optimizer step before each
        for _ in range(done):
            schedule.step()
    return schedule


@torch.no_grad()
def _averaged(mean: nn.Module, module: nn.Module, decay: float) -> None:
    """Take a step of the average; buffers, such as BatchNorm's statistics, are the module's own."""
    for own, now in zip(mean.parameters(), module.parameters(), strict=True):
        own.lerp_(now, 1 - decay)
    for kept, there in zip(mean.buffers(), module.buffers(), strict=True):
        kept.copy_(there)
