"""One Krylov space serves every damping: ``(H + lambda I)^-1 b`` for many ``lambda`` from the products of one.

Conjugate gradients on shifted systems share their Krylov space (Frommer and Maass 1999). Lanczos builds an
orthonormal basis ``V`` with ``V' H V = T`` tridiagonal; the iterate for any shift is ``V (T + lambda I)^-1 |b| e1``,
which is what CG started at zero would reach.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from neuralyzer.errors import NotFiniteError
from neuralyzer.influence.curvature import Curvature


@dataclass(frozen=True)
class Krylov:
    """The space of ``b, Hb, H^2 b, ...``.

    Attributes:
        basis: orthonormal ``(k, P)``.
        diagonal: of ``T``, ``(k,)``.
        beside: its off-diagonal, ``(k - 1,)``.
        norm: ``|b|``.
    """

    basis: Tensor
    diagonal: np.ndarray
    beside: np.ndarray
    norm: float

    def solve(self, damping: float) -> Tensor:
        """``(H + damping I)^-1 b`` within the space, ``(P,)``."""
        banded = np.zeros((2, len(self.diagonal)))
        banded[0, 1:], banded[1] = self.beside, self.diagonal + damping
        right = np.zeros(len(self.diagonal))
        right[0] = self.norm
        solved = solveh_banded(banded, right) if len(right) > 1 else right / banded[1]
        return torch.as_tensor(solved, dtype=self.basis.dtype) @ self.basis

    @property
    def largest(self) -> float:
        """Largest eigenvalue of ``T``, a lower bound of that of ``H``."""
        if len(self.diagonal) == 1:
            return float(self.diagonal[0])
        dense = np.diag(self.diagonal) + np.diag(self.beside, 1) + np.diag(self.beside, -1)
        return float(np.linalg.eigvalsh(dense)[-1])


def krylov(curvature: Curvature, vector: Tensor, products: int) -> Krylov:
    """Build the space with full reorthogonalisation.

    Args:
        curvature: ``H``.
        vector: ``b (P,)``.
        products: most products with ``H``; fewer where the space is exhausted.

    Returns:
        The space.

    Raises:
        NotFiniteError: if ``b`` or a product is not finite.
    """
    norm = float(vector.norm())
    if not np.isfinite(norm):
        raise NotFiniteError("the forget rows' gradient is NaN or infinite; influence cannot be computed")
    basis = torch.zeros((min(products, len(vector)), len(vector)), dtype=vector.dtype)
    if norm == 0:
        return Krylov(basis[:1], np.ones(1), np.zeros(0), 0.0)
    basis[0] = vector / norm
    diagonal: list[float] = []
    beside: list[float] = []
    for k in range(len(basis)):
        product = curvature @ basis[k]
        diagonal.append(float(product @ basis[k]))
        for _ in range(2):  # twice is enough (Parlett): rounding would otherwise let the basis lean
            product = product - (basis[: k + 1] @ product) @ basis[: k + 1]
        size = float(product.norm())
        if not np.isfinite(size):
            raise NotFiniteError("a product with the curvature is NaN or infinite; influence cannot be computed")
        if k + 1 == len(basis) or size <= 1e-6 * max(diagonal[0], 1e-30):
            break
        beside.append(size)
        basis[k + 1] = product / size
    return Krylov(basis[: len(diagonal)], np.array(diagonal), np.array(beside), norm)
