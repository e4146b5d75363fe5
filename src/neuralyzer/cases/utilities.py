"""How useful a model is: on retained rows, on the holdout, and there class by class."""

from typing import Any

from torch import nn

from neuralyzer.models import reading
from neuralyzer.unlearning.task import Task


def utilities(task: Task, model: nn.Module) -> dict[str, Any]:
    """Return a model's utility on ``retained`` rows, on the ``holdout``, and there ``by_class``; None without a holdout."""
    retained = reading.utility(model, task.objective, task.retain)
    found: dict[str, Any] = {"holdout": None, "by_class": {}, "retained": retained}
    if task.oracle.holdout is not None:
        found["holdout"] = reading.utility(model, task.objective, task.oracle.holdout)
        found["by_class"] = reading.utility_by_class(model, task.objective, task.oracle.holdout)
    return found
