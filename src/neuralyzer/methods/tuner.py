"""The one tuner: sets an algorithm's strength by what the coach alone can see.

It sees the trace of every family on the tuning half and utility on retained rows held back: never a retrained
model, never the judging half.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from neuralyzer.methods.task import Task
from neuralyzer.models import reading


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: by hyperparameter.
        score: largest ``|z|`` over all families on the tuning half; infinite where utility was lost.
        module: what it gave.
    """

    settings: dict[str, float]
    score: float
    module: nn.Module


class Tuner:
    """Tries settings and keeps the one with the smallest joint z.

    Args:
        task: gives the coach.
        largest_utility_loss: on retained rows held back, in the objective's unit; more rules a setting out.
        seconds: stop trying after so long; what was tried by then counts. None for as long as it takes.
    """

    def __init__(self, task: Task, largest_utility_loss: float | None = None, seconds: float | None = None) -> None:
        self.task = task
        self.limit = largest_utility_loss or 2 * task.objective.max_utility_loss
        self.ends = math.inf if seconds is None else time.perf_counter() + seconds
        self.trials: list[Trial] = []
        self._before = reading.utility(task.model, task.objective, task.held_back)

    def score(self, module: nn.Module) -> float:
        """Joint z of a candidate."""
        after = reading.utility(module, self.task.objective, self.task.held_back)
        if not self.task.objective.utility_loss(self._before, after) <= self.limit:  # NaN is ruled out too
            return math.inf
        joint = self.task.trace(module).joint
        return math.inf if joint is None else joint.statistic

    def attempt(self, settings: Iterable[dict[str, float]], make: Callable[[dict[str, float]], nn.Module]) -> None:
        """Try settings in order, those tried before excepted."""
        for chosen in settings:
            if any(trial.settings == chosen for trial in self.trials) or self._late():
                continue
            module = make(chosen)
            self.trials.append(Trial(chosen, self.score(module), module))
            best = self.best
            self.trials = [t if t is best else Trial(t.settings, t.score, self.task.model) for t in self.trials]

    def _late(self) -> bool:
        return bool(self.trials) and time.perf_counter() > self.ends

    @property
    def best(self) -> Trial:
        """The trial with the smallest score; the first of equals."""
        return min(self.trials, key=lambda trial: trial.score)


def beside(values: Sequence[float], value: float) -> list[float]:
    """Geometric means of a value of a sorted grid with its neighbours: where to look more closely."""
    place = values.index(value)
    return [math.sqrt(value * values[other]) for other in (place - 1, place + 1) if 0 <= other < len(values)]
