"""The utility of a model: on retained rows, on the holdout, and there by class."""

from typing import Any

from torch import nn

from neuralyzer.models import reading
from neuralyzer.unlearning.task import Task


def utilities(task: Task, model: nn.Module) -> dict[str, Any]:
    """Return a model's utility on ``retained`` rows, on the ``holdout``, and there ``by_class``; None without a holdout."""
    retained = reading.utility(model, task.objective, task.retain)
    utility: dict[str, Any] = {"holdout": None, "by_class": {}, "retained": retained}
    if task.oracle.holdout is not None:
        utility["holdout"] = reading.utility(model, task.objective, task.oracle.holdout)
        utility["by_class"] = reading.utility_by_class(model, task.objective, task.oracle.holdout)
    return utility
