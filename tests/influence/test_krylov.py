"""One Krylov space for every damping, against dense solves and curvlinops' conjugate gradients."""

import numpy as np
import pytest
import scipy.linalg
import torch
from curvlinops import CGInverseLinearOperator
from curvlinops.examples import TensorLinearOperator

from neuralyzer.errors import NotFiniteError
from neuralyzer.influence.krylov import krylov

SIZE = 40


def matrix(spectrum, seed=0):
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.normal(size=(len(spectrum), len(spectrum))))
    return torch.tensor(basis * spectrum @ basis.T)


SPECTRA = {
    "even": np.linspace(0.5, 5, SIZE),
    "decaying": np.logspace(2, -4, SIZE),
    "of low rank": np.r_[np.linspace(1, 9, 8), np.zeros(SIZE - 8)],
}
VECTOR = torch.tensor(np.random.default_rng(1).normal(size=SIZE))


@pytest.mark.parametrize("spectrum", list(SPECTRA))
def test_one_space_serves_every_damping(spectrum):
    h = matrix(SPECTRA[spectrum])
    space = krylov(h, VECTOR, SIZE)
    for damping in (1e-3, 0.1, 1.0, 30.0):
        want = scipy.linalg.solve(h.numpy() + damping * np.eye(SIZE), VECTOR.numpy(), assume_a="pos")
        np.testing.assert_allclose(space.solve(damping), want, rtol=1e-6, atol=1e-8 * np.abs(want).max())


def test_the_space_ends_where_it_is_exhausted():
    space = krylov(matrix(SPECTRA["of low rank"]), VECTOR, SIZE)
    assert (
        len(space.basis) == len(space.diagonal) == len(space.off_diagonal) + 1 == 9
    )  # eight directions and the null space


def test_the_basis_is_orthonormal_and_carries_the_matrix():
    h = matrix(SPECTRA["decaying"])
    space = krylov(h, VECTOR, 25)
    torch.testing.assert_close(space.basis @ space.basis.T, torch.eye(25).double(), rtol=0, atol=1e-10)
    t = np.diag(space.diagonal) + np.diag(space.off_diagonal, 1) + np.diag(space.off_diagonal, -1)
    np.testing.assert_allclose(space.basis @ h @ space.basis.T, t, atol=1e-9)


@pytest.mark.filterwarnings("ignore:CG terminated")
@pytest.mark.parametrize("products", [1, 5, 12])
@pytest.mark.parametrize("damping", [0.1, 1.0])
def test_few_products_reach_what_conjugate_gradients_reach(products, damping):
    h = matrix(SPECTRA["even"])
    got = krylov(h, VECTOR, products).solve(damping)
    operator = TensorLinearOperator(h + damping * torch.eye(SIZE).double())
    inverse = CGInverseLinearOperator(operator, max_iter=products, max_tridiag_iter=products, tolerance=0.0, eps=1e-30)
    torch.testing.assert_close(got, inverse @ VECTOR, rtol=1e-7, atol=1e-9)
    # the iterate of conjugate gradients is the best of the space in the norm of the matrix
    shifted = (h + damping * torch.eye(SIZE).double()).numpy()
    powers = np.stack([np.linalg.matrix_power(h.numpy(), k) @ VECTOR.numpy() for k in range(products)], 1)
    span, _ = np.linalg.qr(powers / np.linalg.norm(powers, axis=0))
    best = span @ np.linalg.solve(span.T @ shifted @ span, span.T @ VECTOR.numpy())
    np.testing.assert_allclose(got, best, rtol=1e-5, atol=1e-7)


def test_more_products_come_nearer():
    h = matrix(SPECTRA["decaying"])
    want = np.linalg.solve(h.numpy() + 0.1 * np.eye(SIZE), VECTOR.numpy())
    off = [np.linalg.norm(krylov(h, VECTOR, k).solve(0.1).numpy() - want) for k in (3, 8, 15, 40)]
    assert off == sorted(off, reverse=True) and off[-1] < 1e-6 * np.linalg.norm(want)


def test_the_largest_eigenvalue():
    h = matrix(SPECTRA["decaying"])
    assert krylov(h, VECTOR, SIZE).largest == pytest.approx(100, rel=1e-6)
    assert krylov(h, VECTOR, 6).largest <= 100 + 1e-9
    assert krylov(h, VECTOR, 1).largest == pytest.approx(float(VECTOR @ h @ VECTOR / (VECTOR @ VECTOR)))


def test_nothing_to_solve():
    space = krylov(matrix(SPECTRA["even"]), torch.zeros(SIZE).double(), 5)
    assert torch.equal(space.solve(0.1), torch.zeros(SIZE).double()) and space.norm == 0


def test_an_eigenvector_needs_one_product():
    h = torch.diag(torch.arange(1.0, SIZE + 1).double())
    vector = 3 * torch.eye(SIZE).double()[4]
    space = krylov(h, vector, 20)
    assert len(space.basis) == 1
    torch.testing.assert_close(space.solve(0.5), vector / 5.5)


@pytest.mark.parametrize("where", ["vector", "matrix"])
def test_what_is_not_finite(where):
    h, vector = matrix(SPECTRA["even"]), VECTOR.clone()
    (vector if where == "vector" else h[0])[3] = torch.nan
    with pytest.raises(NotFiniteError, match="gradient is NaN" if where == "vector" else "product with the curvature"):
        krylov(h, vector, 5)
