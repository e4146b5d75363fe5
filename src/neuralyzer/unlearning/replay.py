"""Replay of recorded training steps: whether it is possible, and whether it reproduced the recorded weights."""

from torch import Tensor, nn

from neuralyzer.registry.history import foreign
from neuralyzer.unlearning.task import Task

# Largest distance of a replay's end from the recorded weights, as a share of the distance between the two checkpoints;
# chosen, not tuned.
REPEATED = 0.01


def draws(task: Task) -> bool:
    """Return whether training draws random numbers, for dropout or augmentation."""
    rates = []
    for layer in task.model.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            rates.append(layer.p)
        if isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
            rates.append(layer.dropout)
    return task.oracle.recipe.augment is not None or any(rate > 0 for rate in rates)


def repeats(start: Tensor, recorded: Tensor, replayed: Tensor) -> bool:
    """Return whether a replay ended near the recorded weights; false where any is NaN.

    Args:
        start: flat parameters that the steps start from ``(P,)``.
        recorded: at the end of the recorded steps ``(P,)``.
        replayed: at the end of the replayed steps ``(P,)``.
    """
    return float((replayed - recorded).norm()) <= REPEATED * float((recorded - start).norm())


def obstacle(task: Task) -> str | None:
    """Return why no rollback is possible; None where one is."""
    reason = foreign(task.history, task.oracle)
    if reason is not None or task.history is None:
        return reason
    if not task.history.whole or task.oracle.recipe.average is not None:
        return "the record of the training is not whole (or lacks its averages), so its steps cannot be replayed"
    if task.checkpoint is None:
        return "no checkpoint with an optimizer's state precedes the first step on these rows"
    return None
