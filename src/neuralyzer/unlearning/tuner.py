"""The one tuner: sets an algorithm's strength by what the tuning split alone can see.

It sees the trace of every family on the tuning split, the loss on retained rows held back, and utility on half of the
holdout: never a retrained model, never the evaluation split.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from neuralyzer.errors import NotFiniteError
from neuralyzer.models import reading
from neuralyzer.unlearning.task import Task

ENOUGH = 0.25  # of the joint test's critical value
ALLOWED = 2  # times what a case may lose by default
RULED_OUT = 1e6  # a score: nothing finite came


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: by hyperparameter.
        z: largest ``|z|`` over all families on the tuning split; infinite where the model gives nothing finite.
        loss: mean loss on retained rows held back.
        lost: utility lost beyond what is allowed, in multiples of what is; 0 where it is within.
        module: what it gave.
    """

    settings: dict[str, Any]
    z: float
    loss: float
    lost: float
    module: nn.Module


class Tuner:
    """Tries settings and keeps the best: no trace that the tuning split sees, and of those the least harm.

    A joint z under a quarter of its critical value is within what never-seen members show too, so such trials count as
    equal in it and the one with the smallest loss on retained rows held back is the best. Where there is none, the
    smallest z is. Utility that is lost beyond what is allowed counts like a z: a critical value for as much again.

    Utility is read on rows that no model saw. On retained rows an Oracle is better than elsewhere, since it was trained on them, and whatever
    fine-tunes it would seem to do harm (decision 25). Where the tuning members that never saw the subjects are worse
    there than the others, as without a whole class, that much more is allowed.

    Args:
        task: gives the tuning split.
        repaired: whether a repair follows, which makes good some of what is lost: twice as much is allowed.
    """

    def __init__(self, task: Task, repaired: bool = False) -> None:
        self.task = task
        self.allowed = ALLOWED * (2 if repaired else 1) * task.objective.max_utility_loss + task.predicted_loss
        self.trials: list[Trial] = []
        self.critical = 0.0
        self._before = reading.utility(task.model, task.objective, task.tuning_holdout)

    def attempt(self, settings: Iterable[dict[str, float]], make: Callable[[dict[str, float]], nn.Module]) -> None:
        """Try settings in order, those tried before excepted."""
        for chosen in settings:
            if any(trial.settings == chosen for trial in self.trials) or self.time_is_up:
                continue
            self.trials.append(self.judge(chosen, make(chosen)))
            best = self.best  # only the best module is kept
            self.trials = [t if t is best else replace(t, module=self.task.model) for t in self.trials]

    def judge(self, settings: dict[str, Any], module: nn.Module) -> Trial:
        """What the tuning split says of what a setting gave."""
        z, loss, lost = math.inf, math.inf, math.inf
        try:
            after = reading.utility(module, self.task.objective, self.task.tuning_holdout)
            joint = self.task.trace(module).joint
            loss = reading.mean_loss(module, self.task.objective, self.task.held_back)
            lost = max(0.0, self.task.objective.utility_loss(self._before, after) / self.allowed - 1)
            if joint is not None:
                z, self.critical = joint.statistic, joint.critical
        except NotFiniteError:  # a setting too strong for the model, not a failure of the algorithm
            pass
        trial = Trial(settings, z, loss, lost, module)
        finite = {name: own if math.isfinite(own := getattr(trial, name)) else None for name in ("z", "loss", "lost")}
        self.task.tried.append({"settings": settings, **finite, "critical": self.critical})
        return trial

    @property
    def time_is_up(self) -> bool:
        """Whether the task's time is up and something was tried."""
        return bool(self.trials) and self.task.time_is_up

    @property
    def best(self) -> Trial:
        """The best trial; the first of equals."""
        return min(self.trials, key=self.score)

    def relative(self, z: float) -> float:
        """A joint z over its critical value."""
        return z / self.critical if self.critical else z

    def score(self, trial: Trial) -> float:
        """The order of trials as one number, smaller is better: z down to where it says nothing, below that the loss."""
        if not all(math.isfinite(own) for own in (trial.z, trial.loss, trial.lost)):
            return RULED_OUT
        if trial.z <= ENOUGH * self.critical:
            return ENOUGH * trial.loss / (1 + trial.loss) + trial.lost
        return self.relative(trial.z) + trial.lost


def beside(values: Sequence[float], value: float) -> list[float]:
    """Geometric means of a value of a sorted grid with its neighbours: where to look more closely."""
    place = values.index(value)
    return [math.sqrt(value * values[other]) for other in (place - 1, place + 1) if 0 <= other < len(values)]
