"""Solves ``(H + lambda I)^-1 b`` for many dampings ``lambda`` from one Krylov space, and so from one set of products.

Conjugate gradients on shifted systems share their Krylov space (Frommer and Maass 1999). Lanczos builds an orthonormal
basis ``V`` with ``V' H V = T`` tridiagonal. For any shift, ``V (T + lambda I)^-1 |b| e1`` is the iterate that conjugate
gradients would reach from zero. See docs/decisions/0007-lanczos.md.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from neuralyzer.errors import NotFiniteError
from neuralyzer.influence.curvature import Curvature

EXHAUSTED = 1e-6  # a next basis vector this short, beside the first of ``T``, is rounding; chosen, not tuned


@dataclass(frozen=True)
class Krylov:
    """The space spanned by ``b, Hb, H^2 b, ...``.

    Attributes:
        basis: orthonormal rows ``(k, P)``.
        diagonal: of ``T``, ``(k,)``.
        off_diagonal: of ``T``, ``(k - 1,)``.
        norm: ``|b|``.
    """

    basis: Tensor
    diagonal: np.ndarray
    off_diagonal: np.ndarray
    norm: float

    def solve(self, damping: float) -> Tensor:
        """Return ``(H + damping I)^-1 b`` within the space, ``(P,)``."""
        banded = np.zeros((2, len(self.diagonal)))
        banded[0, 1:], banded[1] = self.off_diagonal, self.diagonal + damping
        right = np.zeros(len(self.diagonal))
        right[0] = self.norm
        solved = solveh_banded(banded, right) if len(right) > 1 else right / banded[1]
        return torch.as_tensor(solved, dtype=self.basis.dtype) @ self.basis

    @property
    def largest(self) -> float:
        """Largest eigenvalue of ``T``, a lower bound of that of ``H``."""
        if len(self.diagonal) == 1:
            return float(self.diagonal[0])
        dense = np.diag(self.diagonal) + np.diag(self.off_diagonal, 1) + np.diag(self.off_diagonal, -1)
        return float(np.linalg.eigvalsh(dense)[-1])


def krylov(curvature: Curvature, vector: Tensor, products: int) -> Krylov:
    """Build the space by the Lanczos method with full reorthogonalisation.

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
    off_diagonal: list[float] = []
    for k in range(len(basis)):
        product = curvature @ basis[k]
        diagonal.append(float(product @ basis[k]))
        for _ in range(2):  # twice keeps the basis orthogonal in spite of rounding (Parlett, "twice is enough")
            product = product - (basis[: k + 1] @ product) @ basis[: k + 1]
        length = float(product.norm())
        if not np.isfinite(length):
            raise NotFiniteError("a product with the curvature is NaN or infinite; influence cannot be computed")
        if k + 1 == len(basis) or length <= EXHAUSTED * max(diagonal[0], 1e-30):
            break
        off_diagonal.append(length)
        basis[k + 1] = product / length
    return Krylov(basis[: len(diagonal)], np.array(diagonal), np.array(off_diagonal), norm)
