"""The number of threads that a recipe is trained with: the fastest, timed once and written to a file.

Two threads on a small network are often several times slower than one, and retraining, which unlearning is compared
with, should be as fast as it can be. The same number of threads also gives the same weights bit by bit.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuralyzer.data.rows import Data
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.workspace import atomic

STEPS = 8  # training steps that are timed, after a first one that is not; chosen, not tuned


@dataclass(frozen=True)
class Threads:
    """A chosen number of threads.

    Attributes:
        count: threads that everything is computed with.
        seconds: seconds of a training step, by number of threads; empty where nothing was timed.
    """

    count: int
    seconds: Mapping[int, float]

    @property
    def why(self) -> str:
        """The reason in a few words."""
        if not self.seconds:
            return (
                "torch may use no more here" if self.count == 1 else "torch's own number, for the training code is own"
            )
        timings = sorted(self.seconds.items())
        return ", ".join(f"{1000 * seconds:.2f} ms a step with {count}" for count, seconds in timings)

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return {"count": self.count, "seconds": {str(count): seconds for count, seconds in self.seconds.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Threads":
        """Return the choice that ``to_dict`` wrote."""
        return cls(int(values["count"]), {int(count): seconds for count, seconds in values["seconds"].items()})


def timed(recipe: Recipe, data: Data) -> Threads:
    """Time a few steps with one thread and with as many as torch has, and choose the faster.

    Args:
        recipe: how models are trained.
        data: rows.

    Returns:
        The choice.
    """
    available = torch.get_num_threads()
    if not recipe.stepwise or available == 1:
        return Threads(available, {})
    seconds = {count: _step(recipe, data, count) for count in (1, available)}
    return Threads(min(seconds, key=lambda count: (seconds[count], count)), seconds)


def _step(recipe: Recipe, data: Data, count: int) -> float:
    """Return the median seconds of a few steps with ``count`` threads."""
    with using(count):
        module = recipe.module()
        optimizer = recipe.optimizer(training.trainable(module))
        steps = training.order(len(data), 1 + (STEPS + 1) * recipe.batch_size // len(data), recipe.batch_size, 0)
        first = [rows for rows, _ in zip(steps, range(STEPS + 1), strict=False)]
        durations, before = list[float](), time.perf_counter()
        for _ in training.run_steps(recipe, module, optimizer, data, iter(first), 0):
            now = time.perf_counter()
            durations.append(now - before)
            before = now
        return sorted(durations[1:] or durations)[len(durations[1:]) // 2]


@contextmanager
def using(count: int) -> Iterator[None]:
    """Compute with ``count`` threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settled(path: Path, recipe: Recipe, data: Data) -> Threads:
    """Return the choice that was written for a recipe, or make one and write it.

    Args:
        path: a JSON file with choices by the recipe's digest.
        recipe: how models are trained.
        data: rows.

    Returns:
        The choice.
    """
    choices: dict[str, Any] = atomic.read_json(path) if path.exists() else {}
    written = next((digest for digest in choices if recipe.known_as(digest)), None)
    if written is not None:
        return Threads.from_dict(choices[written])
    choice = timed(recipe, data)
    if choice.seconds:  # where nothing was timed there is nothing to remember
        atomic.write_json(path, choices | {recipe.digest: choice.to_dict()})
    return choice
