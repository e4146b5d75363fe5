"""Preconditioned conjugate gradients (Hestenes and Stiefel 1952)."""

from collections.abc import Callable

import torch
from torch import Tensor

from neuralyzer.errors import NotFiniteError

Operator = Callable[[Tensor], Tensor]


def conjugate_gradients(
    operator: Operator, right: Tensor, precondition: Operator, products: int, tolerance: float
) -> Tensor:
    """Return ``A^-1 b`` for a symmetric positive definite ``A``.

    Args:
        operator: ``v -> A v`` for vectors ``(P,)``.
        right: ``b (P,)``.
        precondition: product with an approximate inverse of ``A``, symmetric positive definite.
        products: most products with ``A``.
        tolerance: stop once the residual's norm is at most this share of that of ``b``.

    Returns:
        The solution, or the last iterate where ``products`` ran out, ``(P,)``.

    Raises:
        NotFiniteError: if a product is NaN or infinite.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    target_norm = tolerance * float(right.norm())
    preconditioned = precondition(residual)
    direction, squared_norm = preconditioned, float(residual @ preconditioned)
    for _ in range(products):
        if squared_norm <= 0 or float(residual.norm()) <= target_norm:
            break
        product = operator(direction)
        length = squared_norm / float(direction @ product)
        solution, residual = solution + length * direction, residual - length * product
        preconditioned = precondition(residual)
        previous, squared_norm = squared_norm, float(residual @ preconditioned)
        direction = preconditioned + (squared_norm / previous) * direction
    if not bool(torch.isfinite(solution).all()):
        raise NotFiniteError("a product with the curvature is NaN or infinite; the step cannot be computed")
    return solution
