"""Taking recorded training steps again: from which checkpoint, whether they can be, and whether they were."""

from torch import Tensor, nn

from neuralyzer.registry.history import foreign
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


def obstacle(task: Task) -> str | None:
    """Return why no rollback is possible; None where one is."""
    wrong = foreign(task.history, task.oracle)
    if wrong is not None or task.history is None:
        return wrong
    if not task.history.whole or task.oracle.recipe.average is not None:
        return "the record of the training is not whole (or lacks its averages), so its steps cannot be replayed"
    if task.checkpoint is None:
        return "no checkpoint with an optimizer's state precedes the first step on these rows"
    return None
