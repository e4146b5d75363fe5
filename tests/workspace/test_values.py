"""Digests of values: equal for equal numbers, however they are stored, and for nothing else."""

import itertools

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.models.trained import checked_holdout
from neuralyzer.workspace import digests

X = np.array([[0.0, 1.0, 2.5], [3.0, 0.0, 7.0], [0.5, 0.25, 0.0]])
Y = np.array([0, 1, 2])


def of(x, y):
    return digests.of_values([x], y, digests.of_rows(x, y)).tolist()


STORED = {
    "float32, int64": (np.float32, np.int64), "float64, int64": (np.float64, np.int64),
    "float16, int32": (np.float16, np.int32), "float32, float32": (np.float32, np.float32),
    "float64, float64": (np.float64, np.float64), "float32, uint8": (np.float32, np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_equal_values_have_one_digest(kind, zero, shape):
    x, y = (own.astype(dtype) for own, dtype in zip((X, Y), STORED[kind], strict=True))
    x[x == 0] = zero
    assert of(x, y.reshape(shape)) == of(X.astype(np.float32), Y)


def test_whole_features_are_the_same_as_numbers_with_a_point():
    whole = np.array([[0, 1], [7, 250]])
    assert len({tuple(of(whole.astype(dtype), Y[:2])) for dtype in (np.int64, np.uint8, np.float32, np.float64)}) == 1


def test_other_values_have_other_digests():
    rows = [(X, Y), (X + 1e-3, Y), (X, Y + 1), (X, Y + 0.5), (X[:, ::-1], Y), (X + 1e-12, Y)]
    for (a, b), (c, d) in itertools.combinations(rows, 2):
        assert not set(of(np.ascontiguousarray(a), b)) & set(of(np.ascontiguousarray(c), d))


def test_a_row_as_most_are_stored_has_the_digest_of_its_content():
    x, y = X.astype(np.float32), Y
    assert of(x, y) == digests.of_rows(x, y).tolist()


def test_targets_that_are_no_whole_numbers_are_told_apart():
    x = X.astype(np.float32)
    assert of(x, np.array([0.5, -0.0, 2], np.float32)) == of(x.astype(np.float64), np.array([0.5, 0, 2]))
    assert of(x, np.array([0.5, 1, 2], np.float32))[1:] == of(x, Y)[1:]


@pytest.mark.parametrize(
    "again",
    [
        lambda x, y: (x, y),
        lambda x, y: (np.where(x == 0, -0.0, x), y),
        lambda x, y: (x.astype(np.float16), y),
        lambda x, y: (x, y[:, None]),
        lambda x, y: (x, y.astype(np.float32)),
    ],
)
def test_a_holdout_row_of_equal_values_is_no_holdout_row(again):
    generator = np.random.default_rng(0)
    x = generator.integers(-3, 3, (230, 4)).astype(np.float32) + np.arange(230, dtype=np.float32)[:, None]
    y = generator.integers(0, 2, 230)
    training = nz.Data.from_arrays(x[:30], y[:30])
    own_x, own_y = again(x, y)
    kept, dropped = checked_holdout(training, nz.Data.from_arrays(own_x, own_y))
    assert dropped == 30 and len(kept) == 200


def test_digests_of_some_rows_are_those_of_all(tmp_path):
    data = nz.Data.from_arrays(np.where(X == 0, -0.0, X), Y)
    whole = data.value_digests
    assert data.select([2, 0]).value_digests.tolist() == whole[[2, 0]].tolist()
    assert nz.Data.from_arrays(X[[2, 0]], Y[[2, 0]]).value_digests.tolist() == whole[[2, 0]].tolist()
