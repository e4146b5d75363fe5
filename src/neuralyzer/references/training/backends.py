"""The choice of the backend that trains members: by a short timing on this machine, kept in the pool's description."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.training import processes, stacked, stacked_check
from neuralyzer.references.training.processes import Engine, Execution

TIMED_STEPS, FEWEST_STEPS = 30, 2  # optimizer steps of a timing
TIMED_SECONDS = 0.25  # of a timing of one model, so that a pool of large models is not timed for minutes. Chosen


class Backend(StrEnum):
    """The way members are trained; it does not change what they learn."""

    VECTORISED = "vectorised"
    PROCESSES = "processes"


def as_backend(name: Backend | str | None) -> Backend | None:
    """Return a backend by its name.

    Args:
        name: ``vectorised`` or ``processes``; None for the faster one.

    Returns:
        The backend, or None.

    Raises:
        UsageError: if there is no such backend.
    """
    if name and name not in list(Backend):
        raise UsageError(f"backend is {name!r}; it must be {' or '.join(Backend)}")
    return Backend(name) if name else None


def workers(execution: Execution | None = None) -> int:
    """Return how many processes train at once: one for each core that this process may use; on a GPU, one."""
    if execution is not None and execution.placement.device.type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@dataclass(frozen=True)
class Timing:
    """The result of a short timing on this machine.

    Attributes:
        backend: the faster one, or the one that was asked for.
        why: the reason in a sentence.
        step: seconds per step and member when many are trained; None where the recipe has its own training code.
        single: seconds per step of a model trained alone; None in the same case.
    """

    backend: Backend
    why: str
    step: float | None
    single: float | None


def choose(recipe: Recipe, data: Data, kept: Sequence[np.ndarray]) -> tuple[Backend, str]:
    """Return the faster backend for these members, and the reason in a sentence."""
    reason = stacked_check.obstacle(recipe, data)
    if reason is not None:
        return Backend.PROCESSES, f"processes: {reason}"
    timing = timed(recipe, data, kept)
    return timing.backend, timing.why


def timed(
    recipe: Recipe,
    data: Data,
    kept: Sequence[np.ndarray],
    requested: Backend | None = None,
    execution: Execution | None = None,
) -> Timing:
    """Time both backends on a few steps of these members.

    Args:
        recipe: how members are trained.
        data: rows of all members.
        kept: positions of each member's rows.
        requested: the backend that was asked for, if any.
        execution: device, precision and engine.

    Returns:
        The timing.
    """
    execution = execution or Execution()
    if requested is None and execution.engine is Engine.RAY:
        requested = Backend.PROCESSES
    if not recipe.stepwise:
        return Timing(Backend.PROCESSES, f"processes: {stacked.obstacle(recipe)}", None, None)
    reason = stacked_check.obstacle(recipe, data, execution.placement)
    stack = min(stacked.largest_stack(recipe, data), len(kept))
    steps = 1
    shortest = min(len(rows) for rows in kept)
    sample = [rows[:shortest] for rows in kept[:stack]]

    def together() -> None:
        stacked.train_stack(recipe, data, sample, list(range(stack)), Silent(), steps, execution.placement)

    def alone() -> None:
        module = recipe.module(0).to(execution.placement.device)
        optimizer = recipe.optimizer(training.trainable(module))
        order = training.order(shortest, 1 + steps * recipe.batch_size // shortest, recipe.batch_size, 0)
        few = itertools.islice(order, steps)
        taken = training.run_steps(recipe, module, optimizer, data, few, 0, placement=execution.placement)
        for _ in taken:
            pass

    steps = max(FEWEST_STEPS, min(TIMED_STEPS, int(TIMED_SECONDS / _seconds(alone))))
    # A worker has one thread, so that is how it is timed; a training alone has what torch gives it.
    single = _seconds(alone) / steps
    spread = _seconds(alone, threads=1) / workers(execution)
    if reason is not None:
        return Timing(Backend.PROCESSES, f"processes: {reason}", spread / steps, single)
    together_seconds = _seconds(together) / stack
    faster = requested or (Backend.VECTORISED if together_seconds <= spread else Backend.PROCESSES)
    seconds = (together_seconds if faster is Backend.VECTORISED else spread) / steps
    if requested is not None:
        return Timing(requested, f"{requested}: asked for", seconds, single)
    return Timing(
        faster,
        f"{faster}: {1000 * together_seconds / steps:.2f} ms a member's step stacked {stack} at a time, "
        f"{1000 * spread / steps:.2f} ms in {workers(execution)} processes",
        seconds,
        single,
    )


def _seconds(work: Callable[[], None], threads: int | None = None) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        work()
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    finally:
        torch.set_num_threads(before)


def chunks(recipe: Recipe, backend: Backend, data: Data, kept: Sequence[int]) -> list[list[int]]:
    """Return the members that are trained together; after a kill, a whole chunk is trained again."""
    if backend is Backend.VECTORISED:
        return stacked.stacks(recipe, kept, stacked.largest_stack(recipe, data))
    return [list(range(len(kept)))]


def train(
    backend: Backend,
    recipe: Recipe,
    data: Data,
    kept: Sequence[np.ndarray],
    seeds: Sequence[int],
    progress: Progress,
    *,
    execution: Execution | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[nn.Module]:
    """Train one chunk of members, in order.

    Args:
        backend: by which they are trained.
        recipe: of the members.
        data: rows of all members.
        kept: positions of each member's rows.
        seeds: one for each member.
        progress: advanced in member-epochs.
        execution: device, precision and engine.
        names: of the members in error messages.

    Yields:
        The members, in evaluation mode, on the CPU.

    Raises:
        UsageError: if the recipe cannot be vectorised and that backend was asked for.
    """
    execution = execution or Execution()
    if backend is Backend.VECTORISED:
        reason = stacked_check.obstacle(recipe, data, execution.placement)
        if reason is not None:
            raise UsageError(f"these references cannot be vectorised: {reason}; use the backend 'processes'")
        yield from stacked.train_stack(recipe, data, kept, seeds, progress, placement=execution.placement)
    else:
        for module in processes.train_each(recipe, data, kept, seeds, workers(execution), execution, names):
            progress.advance(recipe.epochs)
            yield module
