"""Which parameters are a network's last: what CF-k and EU-k train."""

from collections.abc import Collection

import numpy as np
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.methods.task import Task
from neuralyzer.models import reading

ROWS = 64  # on which it is looked up which parameters a model uses


def chosen(task: Task, count: int) -> list[str]:
    """The last ``count`` layers of a task's model that its outputs depend on; see ``last``."""
    rows = np.arange(min(ROWS, len(task.oracle.data)))
    used = reading.used(task.model, task.objective, task.oracle.data.gather(rows)[0])
    return last(task.model, count, used)


def last(module: nn.Module, count: int, used: Collection[str] | None = None) -> list[str]:
    """Names of the trained parameters of the last ``count`` layers that have any, in the order of their definition.

    Args:
        module: the network.
        count: how many layers, at least one; all where it has fewer.
        used: names of the parameters that its outputs depend on; a layer that has none of them is passed over. By
            default all are.

    Returns:
        Names, as ``named_parameters`` has them.

    Raises:
        UsageError: if ``count`` is below 1.
    """
    if count < 1:
        raise UsageError(f"the last {count} layers were asked for; it takes at least 1")
    layers: dict[str, list[str]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and (used is None or name in used):
            layers.setdefault(name.rpartition(".")[0], []).append(name)
    return [name for own in list(layers.values())[-count:] for name in own]
