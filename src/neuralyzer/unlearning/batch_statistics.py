"""BatchNorm's running statistics, estimated anew."""

import torch
from torch import nn

from neuralyzer.models.calling import call
from neuralyzer.unlearning.task import Task


def reestimated(module: nn.Module, task: Task) -> nn.Module:
    """Estimate BatchNorm's running statistics anew on retained rows, since those before include the forget rows.

    Args:
        module: changed in place.
        task: has the retained rows.

    Returns:
        ``module``, in evaluation mode where it has such statistics.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    norms = [layer for layer in norms if layer.track_running_stats]
    if not norms:
        return module
    momenta = [layer.momentum for layer in norms]
    module.eval()
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over all batches
        layer.train()
    with torch.no_grad():
        for x, y in task.retain.chunks(task.oracle.recipe.batch_size):
            if len(y) > 1:
                call(module, x)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return module.eval()
