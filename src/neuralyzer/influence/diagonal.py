"""The diagonal of the empirical Fisher matrix: how much each parameter matters to some rows."""

import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective
from neuralyzer.models.reading import GRADIENT_CHUNK, row_gradients


def importances(module: nn.Module, objective: Objective, data: Data, chunk: int = GRADIENT_CHUNK) -> dict[str, Tensor]:
    """Mean over rows of each row's squared loss gradient, by trained parameter.

    Args:
        module: read in evaluation mode, not changed.
        objective: gives the losses.
        data: the rows.
        chunk: rows whose whole gradients are held at once.

    Returns:
        Tensors shaped like the parameters.
    """
    module.eval()
    total = {name: torch.zeros_like(value) for name, value in module.named_parameters() if value.requires_grad}
    for x, y in data.chunks(chunk):
        for name, own in row_gradients(module, objective, x, y).items():
            total[name] += own.square().sum(0)
    return {name: value / len(data) for name, value in total.items()}
