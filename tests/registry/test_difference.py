"""What became of a version's rows."""

import numpy as np
import pytest

from neuralyzer.data.rows import Data
from neuralyzer.registry.difference import difference
from neuralyzer.registry.manifests import register_dataset

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])
IDS, OWNERS = list("abcdef"), list("uuvvww")
LAST = [5, 0, 1, 2, 3, 4]
OTHER = X + (np.arange(6) == 2)[:, None]


def rows(x=X, y=Y, subjects=OWNERS, ids=IDS):
    return Data.from_arrays(x, y, subjects, ids)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (rows().select(LAST), "the same rows in another order"),
        (rows().select([0, 2, 3]), "3 rows removed"),
        (rows(ids=list("abcdeX")), "1 row added, 1 row removed"),
        (rows(x=OTHER), "1 row changed"),
        (rows(y=1 - Y), "6 rows changed"),
        (rows(subjects=list("uuvvwu")), "1 row given to another subject"),
    ],
)
def test_rows_with_ids(tmp_path, now, words):
    version = register_dataset(tmp_path, "train", rows())
    assert str(difference(tmp_path, version.digest, now)) == words


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (rows(X[LAST], Y[LAST], None, None), "the same rows in another order"),
        (rows(X[1:], Y[1:], None, None), "1 row removed"),
        (rows(OTHER, Y, None, None), "1 row added, 1 row removed"),
        (rows(X[[0, 1, 2, 3, 4, 5, 5]], Y[[0, 1, 2, 3, 4, 5, 5]], None, None), "1 row added"),
    ],
)
def test_rows_whose_ids_were_counted_are_known_by_their_content(tmp_path, now, words):
    version = register_dataset(tmp_path, "train", rows(subjects=None, ids=None))
    assert str(difference(tmp_path, version.digest, now)) == words


def test_nothing_is_said_of_a_version_that_nobody_registered(tmp_path):
    assert difference(tmp_path, "0" * 64, rows()) is None
