"""Selecting a network's last layers and training them alone, for CF-k and EU-k."""

from collections.abc import Collection, Iterator

import numpy as np
from torch import Tensor, nn

from neuralyzer.errors import UsageError
from neuralyzer.models import reading
from neuralyzer.progress import Progress
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.task import Task

ROWS = 64  # rows that the model is run on to find the parameters that its outputs depend on; chosen, not tuned


def chosen(task: Task, count: int) -> list[str]:
    """Return the parameters of the last ``count`` layers that the outputs of a task's model depend on; see ``last``."""
    rows = np.arange(min(ROWS, len(task.oracle.data)))
    used = reading.used(task.model, task.objective, task.oracle.data.gather(rows)[0])
    return last(task.model, count, used)


def last(module: nn.Module, count: int, used: Collection[str] | None = None) -> list[str]:
    """Return the names of the trained parameters of the last ``count`` layers that have any.

    Args:
        module: the network.
        count: number of layers, at least one; all are taken where it has fewer.
        used: names of the parameters that the outputs depend on; layers without any of them are skipped. By default all
            are used.

    Returns:
        Names as in ``named_parameters``, in the order of definition.

    Raises:
        UsageError: if ``count`` is below 1.
    """
    if count < 1:
        raise UsageError(f"the last {count} layers were asked for; it takes at least 1")
    layers: dict[str, list[str]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and (used is None or name in used):
            layers.setdefault(name.rpartition(".")[0], []).append(name)
    return [name for names in list(layers.values())[-count:] for name in names]


def train_last(module: nn.Module, layers: int, epochs: int, rate: float, task: Task, progress: Progress) -> nn.Module:
    """Train the last layers of a module in place on retained rows, with BatchNorm of the others in evaluation mode.

    Args:
        module: the module; changed.
        layers: number of layers.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
        task: has rows and recipe.
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
            _freeze_statistics(module, trained)
            yield task.objective.losses(task.objective.outputs(module, x), y).mean()

    steps = training_loop.steps(task, len(task.retain), epochs)
    training_loop.trained(task, module.train(), rate, losses(), progress, "training the last layers", steps)
    for name, value in module.named_parameters():
        value.requires_grad_(before[name])
    return module


def _freeze_statistics(module: nn.Module, trained: set[str]) -> None:
    """Keep the running statistics of BatchNorm layers that are not trained."""
    layers = {name.rpartition(".")[0] for name in trained}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and name not in layers:
            layer.eval()
