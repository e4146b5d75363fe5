"""The training or measurement of members in worker processes, through joblib, on this machine or a Ray cluster."""

import contextlib
import importlib.util
import itertools
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import joblib
import numpy as np
import safetensors.torch
from joblib.externals.loky.process_executor import BrokenProcessPool
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NeuralyzerError, ReferencesError, UsageError
from neuralyzer.models import threads, training, weights
from neuralyzer.models.placement import CPU, Placement
from neuralyzer.models.recipe import Recipe

MOST_DEATHS = 3  # of workers without a member finished between them; after more, an error is raised
RAY_BATCH = 2  # members that each worker of a Ray cluster gets at a time


class Engine(StrEnum):
    """The library that runs the worker processes."""

    LOKY = "loky"
    RAY = "ray"


@dataclass(frozen=True)
class Execution:
    """Where and by which engine members are trained.

    Attributes:
        placement: device and precision.
        engine: of the processes backend.
    """

    placement: Placement = CPU
    engine: Engine = Engine.LOKY


def as_engine(name: Engine | str | None) -> Engine:
    """Return an engine by its name.

    Args:
        name: ``loky``, the default, or ``ray``.

    Returns:
        The engine.

    Raises:
        UsageError: if there is no such engine, or Ray is not installed.
    """
    if name and name not in list(Engine):
        raise UsageError(f"engine is {str(name)!r}; it must be {' or '.join(Engine)}")
    if name == Engine.RAY and importlib.util.find_spec("ray") is None:
        raise UsageError("the engine 'ray' is not installed; pip install 'neuralyzer-unlearning[ray]'")
    return Engine(name or Engine.LOKY)


def train_each(
    recipe: Recipe,
    data: Data,
    kept: Sequence[np.ndarray],
    seeds: Sequence[int],
    workers: int,
    execution: Execution | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[nn.Module]:
    """Train members, ``workers`` at once with one thread each.

    If a worker dies, all unfinished members are trained again.

    Args:
        recipe: of the members.
        data: rows of all members.
        kept: positions of each member's rows.
        seeds: one for each member.
        workers: number of processes; Ray uses all of its cluster.
        execution: device, precision and engine.
        names: of the members in error messages.

    Yields:
        The members in order, in evaluation mode, as soon as each is ready.

    Raises:
        ReferencesError: if workers keep dying.
    """
    execution = execution or Execution()
    names = names or [f"reference {place}" for place in range(len(kept))]

    def jobs(first: int) -> Iterator[object]:
        for rows, seed, name in zip(kept[first:], seeds[first:], names[first:], strict=True):
            yield joblib.delayed(_train)(recipe, data.select(rows), seed, execution.placement, name)

    activities = [f"{name} was trained" for name in names]
    for name, state in zip(names, run_jobs(jobs, activities, workers, execution.engine), strict=True):
        yield weights.fill(recipe.module(0), safetensors.torch.load(state), name).eval()


def run_jobs(
    jobs: Callable[[int], Iterator[object]], names: Sequence[str], workers: int, engine: Engine = Engine.LOKY
) -> Iterator[Any]:
    """Run jobs, ``workers`` at once; if a worker dies, all unfinished jobs are run again.

    Args:
        jobs: yields the jobs from a number on, as ``joblib.delayed`` makes them. They are made as workers take them, so
            that no more rows are in memory than are being worked on.
        names: what each job does, for error messages, such as "reference 3 was trained".
        workers: number of processes.
        engine: that runs them.

    Yields:
        The results in order, each as soon as it is ready.

    Raises:
        ReferencesError: if workers keep dying.
    """
    done = deaths = 0
    while done < len(names):
        with contextlib.closing(_results(jobs(done), workers, engine)) as results:
            try:
                for result in results:
                    yield result
                    done, deaths = done + 1, 0
            except _death_errors(engine) as error:
                deaths += 1
                if deaths > MOST_DEATHS:
                    raise ReferencesError(
                        f"worker processes died {deaths} times while {names[done]} "
                        f"({type(error).__name__}; memory may be short); what is finished is kept, run it again"
                    ) from error


def _results(jobs: Iterator[object], workers: int, engine: Engine) -> Generator[Any, None, None]:
    if engine is Engine.RAY:
        yield from _ray_results(jobs)
        return
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    try:
        for result in results:  # noqa: UP028 - 'yield from' would close them before their warning is silenced
            yield result
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib warns of jobs left undone when it is closed early
            results.close()


def _ray_results(jobs: Iterator[object]) -> Iterator[Any]:
    """Run jobs on Ray, a few at a time, since joblib's Ray backend returns no result before all are ready."""
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():  # the cluster of RAY_ADDRESS or of this machine; without one, Ray starts one here
        ray.init(log_to_driver=False)
    register_ray()
    while True:
        with joblib.parallel_config(backend="ray"):
            batch = list(itertools.islice(jobs, RAY_BATCH * joblib.effective_n_jobs(-1)))
            results = joblib.Parallel(n_jobs=-1)(batch) if batch else []
        if not results:
            return
        yield from results


def _death_errors(engine: Engine) -> tuple[type[BaseException], ...]:
    """Return the exceptions by which an engine reports that a worker died."""
    if engine is Engine.RAY:
        from ray.exceptions import RayActorError, RaySystemError, WorkerCrashedError

        return RayActorError, RaySystemError, WorkerCrashedError
    return (BrokenProcessPool,)


def _train(recipe: Recipe, data: Data, seed: int, placement: Placement, name: str) -> bytes:
    try:
        with threads.using(1):  # a single worker is this process, which may have set more threads
            module = training.train(recipe, data, seed, placement=placement)
    except NeuralyzerError as error:
        raise type(error)(f"{name}: {error}") from error
    return safetensors.torch.save({name: value.contiguous().clone() for name, value in weights.state(module).items()})
