"""Which backend trains the members: by a short timing on this machine, written down and kept."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import numpy as np
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress, Silent
from neuralyzer.references import processes, vectorised

TIMED_STEPS = 30
LARGEST_STACK = 64  # a larger stack gains little more, and a kill costs the whole of it


class Backend(StrEnum):
    """How members are trained; what they are does not depend on it."""

    VECTORISED = "vectorised"
    PROCESSES = "processes"


def workers() -> int:
    """Processes that train at once: the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def choose(recipe: Recipe, data: Data, kept: Sequence[np.ndarray]) -> tuple[Backend, str]:
    """The faster backend for these members, and the reason in a sentence."""
    reason = vectorised.obstacle(recipe)
    if reason is not None:
        return Backend.PROCESSES, f"processes: {reason}"
    stack = min(LARGEST_STACK, len(kept))
    shortest = min(len(rows) for rows in kept)
    sample = [rows[:shortest] for rows in kept[:stack]]

    def together() -> None:
        vectorised.train_stack(recipe, data, sample, list(range(stack)), Silent(), steps=TIMED_STEPS)

    def alone() -> None:
        module = recipe.module(0)
        optimizer = recipe.optimizer(training.trainable(module))
        steps = list(training.order(shortest, 1 + TIMED_STEPS * recipe.batch_size // shortest, recipe.batch_size, 0))
        for _ in training.run_steps(recipe, module, optimizer, data, iter(steps[:TIMED_STEPS]), 0):
            pass

    try:
        together()
    except RuntimeError as error:  # such as a recurrent layer, or control flow that depends on values
        return Backend.PROCESSES, f"processes: the module cannot be stacked ({str(error).splitlines()[0]})"
    stacked, single = _seconds(together) / stack, _seconds(alone) / workers()
    faster = Backend.VECTORISED if stacked <= single else Backend.PROCESSES
    return faster, (
        f"{faster}: {1000 * stacked / TIMED_STEPS:.2f} ms a member's step stacked {stack} at a time, "
        f"{1000 * single / TIMED_STEPS:.2f} ms in {workers()} processes"
    )


def _seconds(work: Callable[[], None]) -> float:
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def chunks(recipe: Recipe, backend: Backend, kept: Sequence[int]) -> list[list[int]]:
    """Members that are trained together, decided once: a chunk is trained again whole after a kill."""
    if backend is Backend.VECTORISED:
        return vectorised.stacks(recipe, kept, LARGEST_STACK)
    return [list(range(len(kept)))]


def train(
    backend: Backend, recipe: Recipe, data: Data, kept: Sequence[np.ndarray], seeds: Sequence[int], progress: Progress
) -> Iterator[nn.Module]:
    """Train one chunk of members, in order.

    Args:
        backend: which.
        recipe: how.
        data: rows of all members.
        kept: positions of each member's rows.
        seeds: one a member.
        progress: advanced in member-epochs.

    Yields:
        The members, in evaluation mode.

    Raises:
        UsageError: if the recipe cannot be vectorised and that backend was asked for.
    """
    if backend is Backend.VECTORISED:
        reason = vectorised.obstacle(recipe)
        if reason is not None:
            raise UsageError(f"these references cannot be vectorised: {reason}; use the backend 'processes'")
        yield from vectorised.train_stack(recipe, data, kept, seeds, progress)
    else:
        for module in processes.train_each(recipe, data, kept, seeds, workers()):
            progress.advance(recipe.epochs)
            yield module
