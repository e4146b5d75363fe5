"""Further training with wrong labels on the forget rows, which several algorithms share."""

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
    """Return the forget rows, each with a label drawn uniformly from the other classes."""
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
        task: has model and rows; labels, order and dropout are drawn by its seed.
        epochs: passes.
        rate: learning rate, as a multiple of the recipe's.
        progress: shown each step.
        free: by parameter name, true where a weight may change; all may where this is None.

    Yields:
        A copy after each pass, in evaluation mode.
    """
    module, original = weights.clone(task.model), dict(task.model.named_parameters())
    rows = together(task.retain, relabelled(task, task.seed))

    def restore_masked() -> None:
        """Reset the weights that may not change, which weight decay or momentum changed."""
        with torch.no_grad():
            for name, value in module.named_parameters():
                if free is not None and name in free:
                    value.copy_(torch.where(free[name], value, original[name]))

    yield from training_loop.passes_over(
        task, module, rate, rows, epochs, progress, "training with random labels", restore_masked
    )


class _Joined:
    """A source of rows that holds those of two others, one after the other."""

    y = None

    def __init__(self, first: Data, second: Data) -> None:
        self.first, self.second, self.on_disk = first, second, True

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def gather(self, positions: np.ndarray) -> tuple[Inputs, Tensor]:
        """Return the rows at some positions, in the order of the positions."""
        positions = np.asarray(positions)
        in_first = positions < len(self.first)
        x, y = self.first.gather(positions[in_first])
        x_rest, y_rest = self.second.gather(positions[~in_first] - len(self.first))
        order = np.argsort(np.concatenate([np.flatnonzero(in_first), np.flatnonzero(~in_first)]), kind="stable")
        return batches.take(batches.join([x, x_rest]), order), torch.cat([y, y_rest])[order]


def together(first: Data, second: Data) -> Data:
    """Return the rows of both, those of the second after those of the first."""
    return Data(_Joined(first, second))
