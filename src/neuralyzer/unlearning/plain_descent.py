"""A check that a recorded training was full-batch gradient descent on smooth losses, for which theorems are proved."""

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from neuralyzer.models import training
from neuralyzer.registry.history import foreign
from neuralyzer.unlearning.replay import draws
from neuralyzer.unlearning.task import Task

NOT_SMOOTH = (  # layers whose gradient is not continuous
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink,
    nn.Softshrink, nn.Threshold, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd,
)  # fmt: skip


def departure(task: Task) -> str | None:
    """Return how the recorded training differs from plain gradient descent; None where no difference was found."""
    history, recipe = task.history, task.oracle.recipe
    reason = foreign(history, task.oracle)
    if reason is not None or history is None:
        return reason
    if not history.whole or history.recipe is None:
        return "the record is not that of a whole training by a recipe, so nobody knows its steps"
    if recipe.schedule is not None or draws(task):
        return "the theorem has a constant rate and no random numbers, and the recipe has others"
    if recipe.clip is not None or recipe.average is not None or recipe.precision != "float32":
        return "the theorem is of plain gradient descent, and the recipe clips, averages or rounds"
    optimizer = recipe.optimizer(training.trainable(task.model))
    if type(optimizer) is not torch.optim.SGD or not _plain(optimizer):
        return "the theorem is of plain gradient descent, and the recipe's optimizer is another"
    for name, layer in task.model.named_modules():
        if isinstance(layer, _BatchNorm):
            return f"layer {name!r} is a BatchNorm, in which a row's loss depends on the other rows"
        if isinstance(layer, NOT_SMOOTH):
            return f"layer {name!r} is a {type(layer).__name__}, whose gradient jumps: the loss is not smooth"
    if any(len(np.unique(batch)) != history.rows or len(batch) != history.rows for batch in history.batches_from(0)):
        return "the theorem is of steps on all rows, and the recorded steps were on others"
    return None


def _plain(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether SGD has no momentum, one rate, and no weight decay so large that it would flip signs."""
    settings = {(g["lr"], g["momentum"], g["maximize"], g["weight_decay"]) for g in optimizer.param_groups}
    rate, momentum, maximize, decay = next(iter(settings))
    return len(settings) == 1 and not momentum and not maximize and rate * decay <= 1
