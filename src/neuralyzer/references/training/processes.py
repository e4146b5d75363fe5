"""Members trained or measured in worker processes, through joblib: for any recipe, here or on a Ray cluster."""

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

DEATHS = 3  # of workers in a row, with no member finished between them: more is no accident
ROUND = 2  # members a worker of a cluster gets at a time


class Engine(StrEnum):
    """Whose processes they are."""

    LOKY = "loky"
    RAY = "ray"


@dataclass(frozen=True)
class How:
    """Where members are trained, and by whose processes.

    Attributes:
        placement: device and precision.
        engine: of the processes backend.
    """

    placement: Placement = CPU
    engine: Engine = Engine.LOKY


def as_engine(name: Engine | str | None) -> Engine:
    """An engine by its name.

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
    how: How | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[nn.Module]:
    """Train members, ``workers`` at once with one thread each.

    Where a worker dies, the members that it and its fellows held are trained again.

    Args:
        recipe: how.
        data: rows of all members.
        kept: positions of each member's rows.
        seeds: one a member.
        workers: processes; Ray takes what its cluster has.
        how: device, precision and engine.
        names: what an error calls each member.

    Yields:
        The members in order, in evaluation mode, as soon as each is ready.

    Raises:
        ReferencesError: if workers die again and again.
    """
    how = how or How()
    names = names or [f"reference {place}" for place in range(len(kept))]

    def jobs(first: int) -> Iterator[object]:
        for rows, seed, name in zip(kept[first:], seeds[first:], names[first:], strict=True):
            yield joblib.delayed(_train)(recipe, data.select(rows), seed, how.placement, name)

    said = [f"{name} was trained" for name in names]
    for name, state in zip(names, each(jobs, said, workers, how.engine), strict=True):
        yield weights.fill(recipe.module(0), safetensors.torch.load(state), name).eval()


def each(
    jobs: Callable[[int], Iterator[object]], names: Sequence[str], workers: int, engine: Engine = Engine.LOKY
) -> Iterator[Any]:
    """Run jobs, ``workers`` at once. Where a worker dies, what it and its fellows held is done again.

    Args:
        jobs: gives those from a place on, as joblib delays them; they are made one by one as workers take them, so that
            no more of the rows is held than is being worked on.
        names: what an error says was done by each.
        workers: processes.
        engine: whose.

    Yields:
        What each gives, in order, as soon as it is ready.

    Raises:
        ReferencesError: if workers die again and again.
    """
    done = deaths = 0
    while done < len(names):
        with contextlib.closing(_results(jobs(done), workers, engine)) as results:
            try:
                for result in results:
                    yield result
                    done, deaths = done + 1, 0
            except _deaths(engine) as error:
                deaths += 1
                if deaths > DEATHS:
                    raise ReferencesError(
                        f"worker processes died {deaths} times while {names[done]} "
                        f"({type(error).__name__}; memory may be short); what is finished is kept, run it again"
                    ) from error


def _results(jobs: Iterator[object], workers: int, engine: Engine) -> Generator[Any, None, None]:
    if engine is Engine.RAY:
        yield from _rounds(jobs)
        return
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    try:
        for result in results:  # noqa: UP028 - 'yield from' would close them before their warning is silenced
            yield result
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib warns of those that a stop leaves undone
            results.close()


def _rounds(jobs: Iterator[object]) -> Iterator[Any]:
    """Ray's part of joblib gives no result before all are there, so that it gets a few members at a time."""
    from ray.util.joblib import register_ray

    register_ray()
    while True:
        with joblib.parallel_config(backend="ray"):
            own = list(itertools.islice(jobs, ROUND * joblib.effective_n_jobs(-1)))
            results = joblib.Parallel(n_jobs=-1)(own) if own else []
        if not results:
            return
        yield from results


def _deaths(engine: Engine) -> tuple[type[BaseException], ...]:
    """How the engine says that a worker died."""
    if engine is Engine.RAY:
        from ray.exceptions import RayActorError, RaySystemError, WorkerCrashedError

        return RayActorError, RaySystemError, WorkerCrashedError
    return (BrokenProcessPool,)


def _train(recipe: Recipe, data: Data, seed: int, placement: Placement, name: str) -> bytes:
    try:
        with threads.using(1):  # where there is one worker, it is the caller itself
            module = training.train(recipe, data, seed, placement=placement)
    except NeuralyzerError as error:
        raise type(error)(f"{name}: {error}") from error
    return safetensors.torch.save({name: value.contiguous().clone() for name, value in weights.state(module).items()})
