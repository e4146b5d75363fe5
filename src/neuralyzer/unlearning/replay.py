"""Whether recorded training steps can be taken again: by random numbers that they draw, and by where they end."""

from torch import Tensor, nn

from neuralyzer.unlearning.task import Task

REPEATED = 0.01  # of the way between two checkpoints: how far a replay may end from the second


def draws(task: Task) -> bool:
    """Whether training draws random numbers."""
    shares = []
    for layer in task.model.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            shares.append(layer.p)
        if isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
            shares.append(layer.dropout)
    return task.oracle.recipe.augment is not None or any(share > 0 for share in shares)


def repeats(was: Tensor, became: Tensor, again: Tensor) -> bool:
    """Whether a replay from flat parameters ``was`` ended in ``again`` where the record ended in ``became``; not for NaN."""
    return float((again - became).norm()) <= REPEATED * float((became - was).norm())
