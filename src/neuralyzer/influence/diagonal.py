"""Diagonals of Fisher matrices: how much each parameter matters to some rows."""

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.models.objective import Objective, curved
from neuralyzer.models.reading import GRADIENT_CHUNK, called, gradients_by_row, row_gradients


def importances(module: nn.Module, objective: Objective, data: Data, chunk: int = GRADIENT_CHUNK) -> dict[str, Tensor]:
    """Mean over rows of each row's squared loss gradient, by trained parameter: of the empirical Fisher matrix.

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


def fisher_squares(module: nn.Module, objective: Objective, x: Inputs, y: Tensor) -> dict[str, Tensor]:
    """Diagonal of the rows' Fisher matrices, summed: each row's expected squared gradient at labels of the model's own.

    It is that of ``J' H J`` with ``H`` the loss Hessian at the outputs: with ``H = S S'``, the squares of ``J' s`` over
    the columns of ``S``, so that nothing is drawn.

    Args:
        module: read in evaluation mode, not changed.
        objective: gives outputs and the loss Hessian at them.
        x: features ``(n, ...)``; whole gradients of all of them are held at once.
        y: targets ``(n, ...)``.

    Returns:
        Tensors shaped like the trained parameters.
    """
    module.eval()
    values = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    with_curvature = curved(objective)
    with torch.no_grad():
        outputs = objective.outputs(module, x)
        unit = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        hessian = torch.stack([with_curvature.curvature(outputs, y, row.expand_as(outputs)) for row in unit], 2)
        eigenvalues, vectors = torch.linalg.eigh(hessian.double())
        roots = (vectors * eigenvalues.clamp_min(0).sqrt().unsqueeze(1)).to(outputs.dtype)

    def along(values: dict[str, Tensor], one: Inputs, root: Tensor) -> Tensor:
        return objective.outputs(called(module, values), batches.alone(one))[0] @ root

    total = {name: torch.zeros_like(value) for name, value in values.items()}
    for column in roots.unbind(2):
        for name, own in gradients_by_row(module, along, x, column).items():
            total[name] += own.square().sum(0)
    return total
