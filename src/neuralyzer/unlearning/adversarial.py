"""The nearest adversarial example of a row, by projected gradient descent in L2 balls of growing radius."""

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.models.classification import labels
from neuralyzer.models.objective import Objective
from neuralyzer.unlearning.task import Task

CHUNK = 512  # rows that are attacked at once; limits memory
DOUBLINGS = 16  # most doublings of the radius; chosen, not tuned
STEPS_ACROSS = 10  # attack steps from a row to the sphere, as in the authors' code of AMUN


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
    """Return the nearest adversarial examples of rows, with the classes that the model predicts for them.

    Args:
        module: in evaluation mode.
        objective: a classification.
        x: rows ``(N, ...)``.
        y: their classes.
        radius: of the first ball.
        steps: of the attack before the radius is doubled.
        limits: smallest and largest value of each feature.
        task: has the time limit, after which no step is taken; None for no limit.

    Returns:
        Rows ``(N, ...)``, and classes ``(N,)`` that differ from ``y``. Where no step changed the prediction, the class
        is the second most likely one.
    """
    examples, true = x.clone(), labels(y)
    classes, active = true.clone(), torch.arange(len(x), device=x.device)  # rows that are still classified correctly
    for step in range(DOUBLINGS * steps + 1):
        leaf = examples[active].requires_grad_()
        outputs = objective.outputs(module, leaf)
        predicted = outputs.detach().argmax(1)
        correct = predicted == true[active]
        second = outputs.detach().scatter(1, true[active, None], -torch.inf).argmax(1)
        classes[active] = torch.where(correct, second, predicted)
        if not correct.any() or step == DOUBLINGS * steps or (task is not None and task.time_is_up):
            break
        # The margin's gradient is parallel to the loss's and does not vanish where the model is confident.
        (gradient,) = torch.autograd.grad(-objective.margin(outputs, y[active]).sum(), leaf)
        active, gradient, leaf = active[correct], gradient[correct], leaf.detach()[correct]
        ball = radius * 2 ** (step // steps)
        shift = leaf + ball / STEPS_ACROSS * _unit(gradient) - x[active]
        projected = shift * (ball / _norms(shift).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)
        examples[active] = torch.minimum(torch.maximum(x[active] + projected, limits[0]), limits[1])
    return examples, classes


def extent(data: Data) -> tuple[Tensor, Tensor, float]:
    """Return each feature's smallest and largest value, and the rows' root mean square distance from their mean."""
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
    """Return each row's L2 norm, with as many axes as ``rows`` has."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=tuple(range(1, rows.ndim)), keepdim=True)
    return norms


def _unit(rows: Tensor) -> Tensor:
    """Return each row divided by its norm; rows of 0 stay 0."""
    return rows / _norms(rows).clamp_min(torch.finfo(rows.dtype).tiny)
