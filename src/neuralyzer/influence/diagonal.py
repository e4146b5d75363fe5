"""The diagonal of the empirical Fisher matrix: how much each parameter matters to some rows."""

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective
from neuralyzer.models.reading import called

CHUNK = 64  # rows whose whole gradients are held at once


def importances(module: nn.Module, objective: Objective, data: Data, chunk: int = CHUNK) -> dict[str, Tensor]:
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
    parameters = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return objective.losses(objective.outputs(called(module, parameters), x[None]), y[None])[0]

    for x, y in data.chunks(chunk):
        rows = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
        for name, own in rows.items():
            total[name] += own.square().sum(0)
    return {name: value / len(data) for name, value in total.items()}
