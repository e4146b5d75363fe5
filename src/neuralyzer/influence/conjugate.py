"""Conjugate gradients with a preconditioner (Hestenes and Stiefel 1952)."""

from collections.abc import Callable

import torch
from torch import Tensor

from neuralyzer.errors import NotFiniteError

Operator = Callable[[Tensor], Tensor]


def conjugate_gradients(
    operator: Operator, right: Tensor, precondition: Operator, products: int, tolerance: float
) -> Tensor:
    """``A^-1 b`` for a symmetric positive definite ``A``.

    Args:
        operator: ``A``, of vectors ``(P,)``.
        right: ``b (P,)``.
        precondition: an approximate inverse of ``A``, symmetric positive definite.
        products: most products with ``A``.
        tolerance: stop where the residual's norm has fallen to this share of that of ``b``.

    Returns:
        The solution, or how far it came, ``(P,)``.

    Raises:
        NotFiniteError: if a product is NaN or infinite.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    smallest = tolerance * float(right.norm())
    turned = precondition(residual)
    direction, reach = turned, float(residual @ turned)
    for _ in range(products):
        if reach <= 0 or float(residual.norm()) <= smallest:
            break
        product = operator(direction)
        length = reach / float(direction @ product)
        solution, residual = solution + length * direction, residual - length * product
        turned = precondition(residual)
        before, reach = reach, float(residual @ turned)
        direction = turned + (reach / before) * direction
    if not bool(torch.isfinite(solution).all()):
        raise NotFiniteError("a product with the curvature is NaN or infinite; the step cannot be computed")
    return solution
