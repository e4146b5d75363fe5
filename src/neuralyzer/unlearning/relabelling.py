"""Training on with forget rows under wrong labels, which several algorithms share."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.rows import Data
from neuralyzer.models import reading, weights
from neuralyzer.progress import Progress
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.task import Task


def relabelled(task: Task, seed: int) -> Data:
    """The forget rows, each with another class drawn uniformly."""
    x, y = task.oracle.data.gather(task.positions)
    classes = reading.outputs(task.model, task.objective, batches.take(x, slice(1))).shape[1]
    shift = np.random.default_rng(seed).integers(1, classes, len(y))
    wrong = (y.reshape(len(y)) + torch.from_numpy(shift)) % classes
    return Data(ArrayRows(x, wrong.reshape(y.shape)), ids=task.forget.ids)


def states(
    task: Task, epochs: int, rate: float, progress: Progress, free: Mapping[str, Tensor] | None = None
) -> Iterator[nn.Module]:
    """Train a copy of the original on retained rows and relabelled forget rows, shuffled together.

    Args:
        task: gives model and rows; labels, order and dropout are drawn by its seed.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
        progress: shown each step.
        free: 1 where a parameter may move, by name; all may where None.

    Yields:
        A copy after each pass, in evaluation mode.
    """
    module, original = weights.clone(task.model), dict(task.model.named_parameters())
    rows = together(task.retain, relabelled(task, task.seed))

    def hold() -> None:
        """The others stay where they were, whatever the optimizer's decay or momentum."""
        with torch.no_grad():
            for name, value in module.named_parameters():
                if free is not None and name in free:
                    value.copy_(torch.where(free[name], value, original[name]))

    yield from training_loop.passes_over(
        task, module, rate, rows, epochs, progress, "training with random labels", hold
    )


class _Joined:
    """Rows of two sources, one after the other."""

    y = None

    def __init__(self, first: Data, second: Data) -> None:
        self.first, self.second, self.on_disk = first, second, True

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def gather(self, positions: np.ndarray) -> tuple[Inputs, Tensor]:
        """Read from both and put into the order that was asked for."""
        positions = np.asarray(positions)
        early = positions < len(self.first)
        x, y = self.first.gather(positions[early])
        x_rest, y_rest = self.second.gather(positions[~early] - len(self.first))
        place = np.argsort(np.concatenate([np.flatnonzero(early), np.flatnonzero(~early)]), kind="stable")
        return batches.take(batches.join([x, x_rest]), place), torch.cat([y, y_rest])[place]


def together(first: Data, second: Data) -> Data:
    """Rows of both, those of the second after those of the first."""
    return Data(_Joined(first, second))
