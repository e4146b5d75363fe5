"""The tuner, which chooses an algorithm's settings by the tuning split alone.

It reads the residual trace of every family on the tuning split, the loss on held-back retained rows, and utility on
half of the holdout. It never reads a retrained model or the evaluation split.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from neuralyzer.errors import NotFiniteError
from neuralyzer.models import reading
from neuralyzer.unlearning.task import Task

# A joint z below this share of its critical value counts as no trace: members that never saw the rows show as much too
# (docs/decisions/0011-least-harm.md).
ENOUGH = 0.25
# Loss of utility that adds nothing to a score, in multiples of what a case allows by default; chosen, not tuned. It is
# doubled where a repair follows (docs/decisions/0025-utility-where-no-model-saw.md).
ALLOWED = 2
RULED_OUT = 1e6  # score of a model with NaN or infinite outputs


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: by hyperparameter.
        z: largest ``|z|`` over all families on the tuning split; infinite where the model gives nothing finite.
        loss: mean loss on held-back retained rows.
        lost: utility lost beyond the allowed loss, in multiples of that; 0 where it is within.
        module: the resulting model.
    """

    settings: dict[str, Any]
    z: float
    loss: float
    lost: float
    module: nn.Module


class Tuner:
    """Trials of settings, of which the best leaves no trace on the tuning split and, among such, harms the model least.

    A joint z below a quarter of its critical value is usual for members that never saw the rows. Trials below it count
    as equal in z, and the one with the smallest loss on held-back retained rows is the best. Where there is none, the
    one with the smallest z is. Utility lost beyond the allowed loss is added to z: one critical value for each further
    allowed loss.

    Utility is read on rows that no model saw. On retained rows the original is better than elsewhere, since it was
    trained on them, and any fine-tuning would seem to do harm (decision 25). Where tuning members that never saw the
    subjects have a lower utility than the others, as without a whole class, the difference is allowed too.

    Args:
        task: has the tuning split.
        repaired: whether a repair follows, which restores a part of the utility: twice the loss is allowed.
    """

    def __init__(self, task: Task, repaired: bool = False) -> None:
        self.task = task
        self.allowed = ALLOWED * (2 if repaired else 1) * task.objective.max_utility_loss + task.predicted_loss
        self.trials: list[Trial] = []
        self.critical = 0.0
        self._before = reading.utility(task.model, task.objective, task.tuning_holdout)

    def attempt(self, settings: Iterable[dict[str, float]], make: Callable[[dict[str, float]], nn.Module]) -> None:
        """Try settings in order, except those tried before; stop at the time limit.

        Args:
            settings: hyperparameters by name, one mapping a trial.
            make: returns the model of a setting.
        """
        for chosen in settings:
            if any(trial.settings == chosen for trial in self.trials) or self.time_is_up:
                continue
            self.trials.append(self.evaluate(chosen, make(chosen)))
            best = self.best  # only the best module is kept in memory
            self.trials = [t if t is best else replace(t, module=self.task.model) for t in self.trials]

    def evaluate(self, settings: dict[str, Any], module: nn.Module) -> Trial:
        """Return the trial of a setting and its model, and note it in the task."""
        z, loss, lost = math.inf, math.inf, math.inf
        try:
            after = reading.utility(module, self.task.objective, self.task.tuning_holdout)
            joint = self.task.trace(module).joint
            loss = reading.mean_loss(module, self.task.objective, self.task.held_back)
            lost = max(0.0, self.task.objective.utility_loss(self._before, after) / self.allowed - 1)
            if joint is not None:
                z, self.critical = joint.statistic, joint.critical
        except NotFiniteError:  # the setting is too strong for the model, which is no failure of the algorithm
            pass
        trial = Trial(settings, z, loss, lost, module)
        values = {"z": z, "loss": loss, "lost": lost}
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self.task.tried.append({"settings": settings, **finite, "critical": self.critical})
        return trial

    @property
    def time_is_up(self) -> bool:
        """Whether the task's time limit is reached and at least one setting was tried."""
        return bool(self.trials) and self.task.time_is_up

    @property
    def best(self) -> Trial:
        """The best trial; the first of equals."""
        return min(self.trials, key=self.score)

    def relative(self, z: float) -> float:
        """Return a joint z divided by its critical value."""
        return z / self.critical if self.critical else z

    def score(self, trial: Trial) -> float:
        """Return a trial's score, smaller is better: by z where it is above ``ENOUGH``, else by the loss."""
        if not all(math.isfinite(value) for value in (trial.z, trial.loss, trial.lost)):
            return RULED_OUT
        if trial.z <= ENOUGH * self.critical:
            return ENOUGH * trial.loss / (1 + trial.loss) + trial.lost
        return self.relative(trial.z) + trial.lost


def geometric_neighbours(values: Sequence[float], value: float) -> list[float]:
    """Return the geometric means of a value of a sorted grid with its neighbours, to refine the grid there."""
    index = values.index(value)
    return [math.sqrt(value * values[other]) for other in (index - 1, index + 1) if 0 <= other < len(values)]
