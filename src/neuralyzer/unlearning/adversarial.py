"""The nearest adversarial example of a row: projected gradient descent in L2 balls that grow."""

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.models.classification import labels
from neuralyzer.models.objective import Objective
from neuralyzer.unlearning.task import Task

CHUNK = 512  # rows attacked at once
DOUBLINGS = 16  # of the radius; a row whose class nothing within reach changes takes its second choice
STEPS_ACROSS = 10  # of an attack lead from a row to the sphere


def nearest(
    module: nn.Module,
    objective: Objective,
    x: Tensor,
    y: Tensor,
    radius: float,
    steps: int,
    limits: tuple[Tensor, Tensor],
    task: Task | None = None,
) -> tuple[Tensor, Tensor]:
    """Adversarial examples of rows.

    Args:
        module: in evaluation mode.
        objective: of classes.
        x: rows ``(N, ...)``.
        y: their classes.
        radius: the first.
        steps: before it is doubled.
        limits: smallest and largest value of each feature.
        task: has the time, after which no step is taken; None for as long as it takes.

    Returns:
        Rows, and classes ``(N,)`` that none of them had before.
    """
    moved, own = x.clone(), labels(y)
    chosen, left = own.clone(), torch.arange(len(x), device=x.device)
    for taken in range(DOUBLINGS * steps + 1):
        at = moved[left].requires_grad_()
        outputs = objective.outputs(module, at)
        said = outputs.detach().argmax(1)
        still = said == own[left]
        chosen[left] = torch.where(still, outputs.detach().scatter(1, own[left, None], -torch.inf).argmax(1), said)
        if not still.any() or taken == DOUBLINGS * steps or (task is not None and task.time_is_up):
            break
        # the margin's gradient is parallel to the loss's and does not vanish where the model is sure
        (slope,) = torch.autograd.grad(-objective.margin(outputs, y[left]).sum(), at)
        left, slope, at = left[still], slope[still], at.detach()[still]
        ball = radius * 2 ** (taken // steps)
        stepped = at + ball / STEPS_ACROSS * _unit(slope) - x[left]
        shrunk = stepped * (ball / _norms(stepped).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)
        moved[left] = torch.minimum(torch.maximum(x[left] + shrunk, limits[0]), limits[1])
    return moved, chosen


def extent(data: Data) -> tuple[Tensor, Tensor, float]:
    """Smallest and largest value of each feature, and the rows' root mean square distance from their mean."""
    lows, highs, total, squares = [], [], torch.zeros(()), 0.0
    for rows, _ in data.chunks(CHUNK):
        x = batches.features(rows)
        lows.append(x.amin(0))
        highs.append(x.amax(0))
        total = total + x.double().sum(0)
        squares += float(x.double().square().sum())
    mean = total / len(data)
    distance = float(np.sqrt(max(squares / len(data) - float(mean.square().sum()), 0.0)))
    return torch.stack(lows).amin(0), torch.stack(highs).amax(0), distance


def _norms(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=tuple(range(1, rows.ndim)), keepdim=True)
    return norms


def _unit(rows: Tensor) -> Tensor:
    return rows / _norms(rows).clamp_min(torch.finfo(rows.dtype).tiny)
