"""Digests tell apart what differs and nothing else."""

import hashlib

import numpy as np
import pytest

from neuralyzer.errors import UnreadableError
from neuralyzer.workspace import digests


def test_equal_rows_have_equal_digests():
    x = np.array([[1, 2], [3, 4], [1, 2]], np.float32)
    y = np.array([0, 0, 0])
    first, second, third = digests.of_rows(x, y).tolist()
    assert first == third != second


def test_a_row_is_more_than_its_bytes():
    """Zeros of another dtype, shape or target are other rows."""
    rows = [
        (np.zeros((1, 4), np.float32), np.zeros(1, np.int64)),
        (np.zeros((1, 4), np.int32), np.zeros(1, np.int64)),
        (np.zeros((1, 2, 2), np.float32), np.zeros(1, np.int64)),
        (np.zeros((1, 4), np.float32), np.ones(1, np.int64)),
    ]
    assert len({digests.of_rows(*row).tolist()[0] for row in rows}) == len(rows)


def test_strides_do_not_matter():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert (digests.of_rows(np.asfortranarray(x)) == digests.of_rows(x)).all()


def test_json_digest_ignores_the_order_of_keys_alone():
    assert digests.of_json({"a": 1, "b": [1, 2]}) == digests.of_json({"b": [1, 2], "a": 1})
    assert digests.of_json({"b": [2, 1], "a": 1}) != digests.of_json({"a": 1, "b": [1, 2]})


def test_texts_are_told_apart_at_their_borders():
    assert digests.of_texts(["ab", "c"]) != digests.of_texts(["a", "bc"])


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert digests.of_file(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(UnreadableError, match="No such file"):
        digests.of_file(tmp_path / "none")
