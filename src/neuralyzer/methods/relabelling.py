"""Training on with forget rows under wrong labels, which several algorithms share."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.methods import continuing
from neuralyzer.methods.task import Task
from neuralyzer.models import reading, weights
from neuralyzer.progress import Progress


def relabelled(task: Task, seed: int) -> Data:
    """The forget rows, each with another class drawn uniformly."""
    x, y = task.oracle.data.gather(task.positions)
    classes = reading.outputs(task.model, task.objective, x[:1]).shape[1]
    shift = np.random.default_rng(seed).integers(1, classes, len(y))
    wrong = (y.reshape(len(y)) + torch.from_numpy(shift)) % classes
    return Data.from_arrays(x.numpy(), wrong.reshape(y.shape).numpy(), ids=task.forget.ids)


def train(
    task: Task, epochs: int, rate: float, progress: Progress, free: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Train a copy of the original on retained rows and relabelled forget rows, shuffled together.

    Args:
        task: gives model and rows; labels, order and dropout are drawn by its seed.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
        progress: shown each step.
        free: 1 where a parameter may move, by name; all may where None.

    Returns:
        The copy, in evaluation mode.
    """
    module, original = weights.clone(task.model).train(), dict(task.model.named_parameters())
    optimizer = continuing.optimizer(task.oracle.recipe, module, rate)
    rows = _together(task.retain, relabelled(task, task.seed))
    progress.start("training with random labels", continuing.steps(task, len(rows), epochs))
    losses = continuing.mean_losses(task, module, rows, epochs)
    for _ in continuing.descend(module, optimizer, losses, task.seed):
        if free is not None:
            with torch.no_grad():  # the others stay where they were, whatever the optimizer's decay or momentum
                for name, value in module.named_parameters():
                    if name in free:
                        value.copy_(torch.where(free[name], value, original[name]))
        progress.advance()
    task.show(progress, module)
    progress.finish()
    return module.eval()


class _Joined:
    """Rows of two sources, one after the other."""

    y = None

    def __init__(self, first: Data, second: Data) -> None:
        self.first, self.second, self.on_disk = first, second, True

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def gather(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read from both and put into the order that was asked for."""
        positions = np.asarray(positions)
        early = positions < len(self.first)
        x, y = self.first.gather(positions[early])
        x_rest, y_rest = self.second.gather(positions[~early] - len(self.first))
        place = np.argsort(np.concatenate([np.flatnonzero(early), np.flatnonzero(~early)]), kind="stable")
        return torch.cat([x, x_rest])[place], torch.cat([y, y_rest])[place]


def _together(first: Data, second: Data) -> Data:
    return Data(_Joined(first, second))
