"""Removal updates: estimates of the parameters or outputs of a model trained without some rows."""

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.influence.conjugate import conjugate_gradients
from neuralyzer.influence.curvature import (
    CHUNK,
    Curvature,
    GaussNewton,
    Parameters,
    directional_derivative,
    mean_gradient,
)
from neuralyzer.influence.ekfac import Ekfac
from neuralyzer.influence.krylov import Krylov, krylov
from neuralyzer.models import weights
from neuralyzer.models.objective import Objective
from neuralyzer.models.reading import called

# Default of most products with the curvature; 40 and 80 gave the same traces (docs/decisions/0011-least-harm.md).
PRODUCTS = 30


def removal_space(
    module: nn.Module,
    objective: Objective,
    retain: Data,
    forget: Data,
    products: int = PRODUCTS,
    weight_decay: float = 0.0,
    curvature: Curvature | None = None,
) -> Krylov:
    """Return the Krylov space that holds the removal updates for every damping.

    Koh and Liang 2017 (arXiv 1703.04730, section 2.1) for a group of rows. With the model at a minimum over all rows,
    removing ``forget`` moves it by ``(H_R + lambda I)^-1 (1/n_R) sum of forget gradients``. ``H_R`` is taken over the
    retained rows, so that for quadratic losses the step is exact.

    Args:
        module: trained on both.
        objective: computes the losses.
        retain: the ``n_R`` retained rows.
        forget: the rows to remove.
        products: most products with the curvature.
        weight_decay: L2 penalty ``weight_decay / 2 |theta|^2`` beside the mean loss; it is part of each row's loss,
            and has to be added to the damping by the caller.
        curvature: ``H_R``; by default the Gauss-Newton matrix of the retained rows.

    Returns:
        The space; ``space.solve(damping)`` is the change of the flat parameters.
    """
    gradient = mean_gradient(module, objective, forget, weight_decay)
    operator = curvature if curvature is not None else GaussNewton(module, objective, retain)
    return krylov(operator, gradient * (len(forget) / len(retain)), products)


def removal_update(
    module: nn.Module,
    objective: Objective,
    sample: Data,
    forget: Data,
    retained: int,
    factors: Ekfac,
    damping: float,
    products: int,
) -> Tensor:
    """Return the removal update for one damping from few products with the curvature of few rows.

    Conjugate gradients are preconditioned by the EKFAC factors. Few products take what changes the sample least for
    what it takes from the forget rows; more would fit the sample's own curvature.

    Args:
        module: trained on all rows.
        objective: computes the losses.
        sample: of the retained rows, whose Gauss-Newton matrix is ``H``; its products are differences.
        forget: the rows to remove.
        retained: ``n_R``, number of all retained rows.
        factors: of the curvature of the mean loss over all rows.
        damping: ``lambda``.
        products: most products with ``H``.

    Returns:
        The change of the flat parameters, ``(P,)``.
    """
    parameters, curvature = Parameters(module), GaussNewton(module, objective, sample, difference=True)
    return conjugate_gradients(
        lambda v: curvature @ v + damping * v,
        mean_gradient(module, objective, forget) * (len(forget) / retained),
        lambda v: factors.solve(parameters, v, damping),
        products,
        0.0,
    )


def predicted_outputs(
    module: nn.Module,
    objective: Objective,
    forget: Data,
    retained: int,
    factors: Ekfac,
    damping: float,
    x: Inputs,
) -> Tensor:
    """Return the outputs of a model without some rows, to first order in the removal update.

    ``f(x) + J(x) (H + damping I)^-1 (1/n_R) sum of forget gradients``, with EKFAC factors for ``H`` (Grosse et al.
    2023, arXiv 2308.03296). One solve serves all outputs, and no pass over the retained rows is needed.

    Args:
        module: trained on all rows.
        objective: computes losses and outputs.
        forget: the rows that are removed.
        retained: ``n_R``, number of retained rows.
        factors: ``H``, of the mean loss.
        damping: ``lambda``.
        x: rows whose outputs are returned, ``(N, ...)``.

    Returns:
        Outputs ``(N, C)``.
    """
    parameters = Parameters(module)
    gradient = mean_gradient(module, objective, forget) * (len(forget) / retained)
    change = parameters.tree(factors.solve(parameters, gradient, damping))
    predicted = []
    for chunk in batches.chunked(x, CHUNK):
        outputs = lambda values, rows=chunk: objective.outputs(called(module, values), rows)
        value, derivative = directional_derivative(outputs, parameters.values, change)
        predicted.append(value + derivative)
    return torch.cat(predicted).detach()


def moved(module: nn.Module, change: Tensor) -> nn.Module:
    """Return a copy of ``module`` with the flat ``change (P,)`` added to its trained parameters."""
    copy = weights.clone(module)
    changes = Parameters(copy).tree(change)
    with torch.no_grad():
        for name, parameter in copy.named_parameters():
            if name in changes:
                parameter.add_(changes[name])
    return copy.eval()
