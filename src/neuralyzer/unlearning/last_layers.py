"""A network's last layers: which they are, and training them alone, as CF-k and EU-k do."""

from collections.abc import Collection, Iterator

import numpy as np
from torch import Tensor, nn

from neuralyzer.errors import UsageError
from neuralyzer.models import reading
from neuralyzer.progress import Progress
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.task import Task

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


def train_last(module: nn.Module, layers: int, epochs: int, rate: float, task: Task, progress: Progress) -> nn.Module:
    """Train the last layers of a module in place on retained rows, BatchNorm of the others in evaluation mode.

    Args:
        module: is changed.
        layers: how many of the last.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
        task: gives rows and recipe.
        progress: shown each step.

    Returns:
        The module, in evaluation mode.
    """
    trained = set(chosen(task, layers))
    before = {name: value.requires_grad for name, value in module.named_parameters()}
    for name, value in module.named_parameters():
        value.requires_grad_(name in trained)

    def losses() -> Iterator[Tensor]:
        for x, y in training_loop.batches(task.oracle.recipe, module, task.retain, epochs, task.seed):
            _hold(module, trained)
            yield task.objective.losses(task.objective.outputs(module, x), y).mean()

    steps = training_loop.steps(task, len(task.retain), epochs)
    training_loop.trained(task, module.train(), rate, losses(), progress, "training the last layers", steps)
    for name, value in module.named_parameters():
        value.requires_grad_(before[name])
    return module


def _hold(module: nn.Module, trained: set[str]) -> None:
    """Layers that are not trained keep their running statistics."""
    owners = {name.rpartition(".")[0] for name in trained}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and name not in owners:
            layer.eval()
