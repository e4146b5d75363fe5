"""Diagonals of Fisher matrices: the importance of each parameter for some rows."""

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective, curved
from neuralyzer.models.reading import GRADIENT_CHUNK, called, gradients_by_row, row_gradients


def importances(module: nn.Module, objective: Objective, data: Data, chunk: int = GRADIENT_CHUNK) -> dict[str, Tensor]:
    """Return the diagonal of the empirical Fisher matrix: the mean over rows of the squared loss gradient.

    Args:
        module: read in evaluation mode, not changed.
        objective: computes the losses.
        data: the rows.
        chunk: rows whose full gradients are held at once.

    Returns:
        Tensors by name, shaped like the trained parameters.
    """
    module.eval()
    total = {name: torch.zeros_like(value) for name, value in module.named_parameters() if value.requires_grad}
    for x, y in data.chunks(chunk):
        for name, gradient in row_gradients(module, objective, x, y).items():
            total[name] += gradient.square().sum(0)
    return {name: value / len(data) for name, value in total.items()}


def fisher_squares(module: nn.Module, objective: Objective, x: Inputs, y: Tensor) -> dict[str, Tensor]:
    """Return the diagonal of the rows' Fisher matrices, summed over rows.

    A row's Fisher matrix is the expected outer product of its gradient at labels drawn from the model. It is ``J' H J``
    with ``H`` the loss Hessian at the outputs. With ``H = S S'`` its diagonal is the sum of the squares of ``J' s``
    over the columns ``s`` of ``S``, so that no labels need be drawn.

    Args:
        module: read in evaluation mode, not changed.
        objective: computes outputs and the loss Hessian at them.
        x: features ``(n, ...)``; full gradients of all of them are held at once.
        y: targets ``(n, ...)``.

    Returns:
        Tensors by name, shaped like the trained parameters.
    """
    module.eval()
    values = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    curved_objective = curved(objective)
    with torch.no_grad():
        outputs = objective.outputs(module, x)
        unit = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        columns = [curved_objective.curvature(outputs, y, vector.expand_as(outputs)) for vector in unit]
        hessian = torch.stack(columns, 2)
        eigenvalues, vectors = torch.linalg.eigh(hessian.double())
        roots = (vectors * eigenvalues.clamp_min(0).sqrt().unsqueeze(1)).to(outputs.dtype)

    def projected(values: dict[str, Tensor], row: Inputs, root: Tensor) -> Tensor:
        return objective.outputs(called(module, values), batches.alone(row))[0] @ root

    total = {name: torch.zeros_like(value) for name, value in values.items()}
    for column in roots.unbind(2):
        for name, gradient in gradients_by_row(module, projected, x, column).items():
            total[name] += gradient.square().sum(0)
    return total
