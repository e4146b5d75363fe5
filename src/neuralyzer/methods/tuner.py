"""The one tuner: sets an algorithm's strength by what the coach alone can see.

It sees the trace of every family on the tuning half and utility on retained rows held back: never a retrained
model, never the judging half.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from neuralyzer.errors import NotFiniteError
from neuralyzer.methods.task import Task
from neuralyzer.models import reading

ENOUGH = 0.25  # of the joint test's critical value
RULED_OUT = 1e6  # a score: utility was lost, or nothing finite came


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: by hyperparameter.
        z: largest ``|z|`` over all families on the tuning half; infinite where utility was lost.
        loss: mean loss on retained rows held back.
        module: what it gave.
    """

    settings: dict[str, Any]
    z: float
    loss: float
    module: nn.Module


class Tuner:
    """Tries settings and keeps the best: no trace that the coach sees, and of those the least harm.

    A joint z under a quarter of its critical value is within what never-seen members show too, so such trials count as
    equal in it and the one with the smallest loss on retained rows held back is the best. Where there is none, the
    smallest z is.

    Args:
        task: gives the coach.
        largest_utility_loss: on retained rows held back, in the objective's unit; more rules a setting out.
    """

    def __init__(self, task: Task, largest_utility_loss: float | None = None) -> None:
        self.task = task
        self.limit = largest_utility_loss or 2 * task.objective.max_utility_loss
        self.trials: list[Trial] = []
        self.critical = 0.0
        self._before = reading.utility(task.model, task.objective, task.held_back)

    def _z(self, module: nn.Module) -> float:
        try:
            after = reading.utility(module, self.task.objective, self.task.held_back)
        except NotFiniteError:  # a setting too strong for the model, not a failure of the algorithm
            return math.inf
        if not self.task.objective.utility_loss(self._before, after) <= self.limit:  # NaN is ruled out too
            return math.inf
        joint = self.task.trace(module).joint
        if joint is None:
            return math.inf
        self.critical = joint.critical
        return joint.statistic

    def attempt(self, settings: Iterable[dict[str, float]], make: Callable[[dict[str, float]], nn.Module]) -> None:
        """Try settings in order, those tried before excepted."""
        for chosen in settings:
            if any(trial.settings == chosen for trial in self.trials) or self.late:
                continue
            self.trials.append(self.judge(chosen, make(chosen)))
            best = self.best  # only the best module is kept
            self.trials = [t if t is best else replace(t, module=self.task.model) for t in self.trials]

    def judge(self, settings: dict[str, Any], module: nn.Module) -> Trial:
        """What the coach says of what a setting gave."""
        z = self._z(module)
        loss = z if z == math.inf else reading.mean_loss(module, self.task.objective, self.task.held_back)
        finite = {name: value if math.isfinite(value) else None for name, value in (("z", z), ("loss", loss))}
        self.task.tried.append({"settings": settings, **finite, "critical": self.critical})
        return Trial(settings, z, loss, module)

    @property
    def late(self) -> bool:
        """Whether the task's time is up and something was tried."""
        return bool(self.trials) and self.task.late

    @property
    def best(self) -> Trial:
        """The best trial; the first of equals."""
        return min(self.trials, key=lambda trial: self.score(trial.z, trial.loss))

    def relative(self, z: float) -> float:
        """A joint z over its critical value."""
        return z / self.critical if self.critical else z

    def score(self, z: float, loss: float) -> float:
        """The order of trials as one number, smaller is better: z down to where it says nothing, below that the loss."""
        if not math.isfinite(z) or not math.isfinite(loss):
            return RULED_OUT
        return ENOUGH * loss / (1 + loss) if z <= ENOUGH * self.critical else self.relative(z)


def beside(values: Sequence[float], value: float) -> list[float]:
    """Geometric means of a value of a sorted grid with its neighbours: where to look more closely."""
    place = values.index(value)
    return [math.sqrt(value * values[other]) for other in (place - 1, place + 1) if 0 <= other < len(values)]
