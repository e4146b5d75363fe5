"""How many threads a recipe is trained with: as many as are fastest, timed once and written down.

Two threads on a small network are often several times slower than one. What unlearning is held against must not be
slower than it need be, and the same number of threads gives the same bits.
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

STEPS = 8  # that are timed, after one that is not


@dataclass(frozen=True)
class Threads:
    """A choice.

    Attributes:
        count: threads that everything is computed with.
        seconds: of a training step, by number of threads; empty where the training code is the person's own.
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
        return ", ".join(f"{1000 * own:.2f} ms a step with {count}" for count, own in sorted(self.seconds.items()))

    def to_dict(self) -> dict[str, Any]:
        """The choice as plain values."""
        return {"count": self.count, "seconds": {str(count): own for count, own in self.seconds.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Threads":
        """The choice that ``to_dict`` wrote down."""
        return cls(int(values["count"]), {int(count): own for count, own in values["seconds"].items()})


def timed(recipe: Recipe, data: Data) -> Threads:
    """Time a few steps with one thread and with all that torch has here, and take the faster.

    Args:
        recipe: how models are trained.
        data: rows.

    Returns:
        The choice.
    """
    every = torch.get_num_threads()
    if not recipe.stepwise or every == 1:
        return Threads(every, {})
    seconds = {count: _step(recipe, data, count) for count in (1, every)}
    return Threads(min(seconds, key=lambda count: (seconds[count], count)), seconds)


def _step(recipe: Recipe, data: Data, count: int) -> float:
    """Seconds of a step, the median of a few."""
    with using(count):
        module = recipe.module()
        optimizer = recipe.optimizer(training.trainable(module))
        steps = training.order(len(data), 1 + (STEPS + 1) * recipe.batch_size // len(data), recipe.batch_size, 0)
        first = [rows for rows, _ in zip(steps, range(STEPS + 1), strict=False)]
        taken, before = list[float](), time.perf_counter()
        for _ in training.run_steps(recipe, module, optimizer, data, iter(first), 0):
            now = time.perf_counter()
            taken.append(now - before)
            before = now
        return sorted(taken[1:] or taken)[len(taken[1:]) // 2]


@contextmanager
def using(count: int) -> Iterator[None]:
    """Compute with so many threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settled(path: Path, recipe: Recipe, data: Data) -> Threads:
    """The choice that was written down for a recipe, or one that is made and written now.

    Args:
        path: a JSON file; it holds a choice a recipe.
        recipe: how models are trained.
        data: rows.

    Returns:
        The choice.
    """
    known: dict[str, Any] = atomic.read_json(path) if path.exists() else {}
    written = next((digest for digest in known if recipe.known_as(digest)), None)
    if written is not None:
        return Threads.from_dict(known[written])
    made = timed(recipe, data)
    if made.seconds:  # where there is no choice nothing is written down
        atomic.write_json(path, known | {recipe.digest: made.to_dict()})
    return made
