"""Inputs by name and tokens: what is done with a batch, held against plain lists."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError

ROWS = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=9), min_size=1, max_size=8)


def lists(x):
    """Rows without padding, as lists."""
    return [own[mask.bool()].tolist() for own, mask in zip(x["input_ids"], x["attention_mask"], strict=True)]


@given(ROWS, ROWS, st.integers(0, 3))
def test_tokens_are_the_lists_that_they_were_made_of(first, second, pad):
    one, other = batches.tokens(first, pad), batches.tokens(second, pad)
    assert lists(one) == first and batches.count(one) == len(first)
    assert lists(batches.join([one, other])) == first + second
    chosen = list(range(len(first)))[::-2]
    some = batches.trimmed(batches.take(one, chosen))
    assert lists(some) == [first[k] for k in chosen]
    assert some["input_ids"].shape[1] == max(len(first[k]) for k in chosen)
    assert [lists(batches.alone(row))[0] for row in batches.each(one)] == first


@given(ROWS)
def test_a_rows_digest_does_not_depend_on_its_padding(rows):
    y = np.zeros(len(rows), dtype=int)
    alone, padded = Data.from_tokens(rows, y), Data.from_tokens([*rows, [1] * 12], [*y, 0], pad=7)
    np.testing.assert_array_equal(alone.row_digests, padded.row_digests[:-1])
    np.testing.assert_array_equal(alone.value_digests, padded.value_digests[:-1])
    for one, other in ((0, k) for k in range(1, len(rows))):
        assert (alone.value_digests[one] == alone.value_digests[other]) == (rows[one] == rows[other])


def test_inputs_by_name_have_the_same_values_however_they_are_stored():
    y = np.zeros(3, dtype=int)
    one = Data.from_arrays({"a": np.array([[0.0], [1.0], [2.0]], np.float32), "b": np.arange(6.0).reshape(3, 2)}, y)
    other = Data.from_arrays({"b": torch.arange(6.0).reshape(3, 2), "a": torch.tensor([[-0.0], [1.0], [3.0]])}, y)
    assert (one.value_digests == other.value_digests).tolist() == [True, True, False]


def test_rows_are_read_as_wide_as_the_longest_of_them():
    data = Data.from_tokens([[1], [2, 3], [4, 5, 6, 7]], [0, 1, 0], ["a", "b", "a"])
    x, y = data.gather([1, 0])
    assert x["input_ids"].tolist() == [[2, 3], [1, 0]] and x["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert y.tolist() == [1, 0] and data.x["input_ids"].shape == (3, 4)
    assert [own["input_ids"].shape[1] for own, _ in data.select([0, 2]).chunks(1)] == [1, 4]
    assert "3 rows" in data.size


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: Data.from_tokens([[1], []], [0, 0]), "row 1 has no tokens"),
        (lambda: Data.from_tokens([[1], None], [0, 0]), "row 1 has no tokens"),
        (lambda: Data.from_tokens([[1, -1]], [0]), "tokens must be whole numbers of 0 or more"),
        (lambda: Data.from_tokens([[1.5]], [0]), "tokens must be whole numbers of 0 or more"),
        (lambda: Data.from_tokens([[1]], [0, 1]), "x has 1 rows and y has 2"),
        (
            lambda: Data.from_arrays({"a": np.ones(2), "b": np.ones(3)}, [0, 1]),
            "equally many rows; there are: a 2, b 3",
        ),
        (lambda: Data.from_arrays({}, [0, 1]), "equally many rows; there are: none"),
        (lambda: Data.from_arrays({"a": np.array([1.0, np.nan])}, [0, 1]), "x: row 1 has NaN"),
    ],
)
def test_what_is_wrong_is_said(make, wrong):
    with pytest.raises(UsageError, match=wrong):
        make()


def test_tokens_from_a_file(tmp_path):
    rows = [[5, 6, 7], [8], [9, 1]]
    table = pa.table({"input_ids": rows, "label": ["x", "y", "x"], "who": ["a", "b", "a"], "length": [3, 1, 2]})
    pq.write_table(table, tmp_path / "rows.parquet")
    columns = {"target": "label", "subject": "who"}
    data = Data.from_parquet(tmp_path / "rows.parquet", tokens="input_ids", **columns)
    assert lists(data.x) == rows and data.classes == ("x", "y") and data.where("length > 1").tolist() == [0, 2]
    with pytest.raises(UsageError, match="column 'input_ids' holds no plain numbers; name it with tokens="):
        Data.from_parquet(tmp_path / "rows.parquet", features=["input_ids"], **columns)
    with pytest.raises(UsageError, match="column 'length' holds int64, no lists of token ids"):
        Data.from_parquet(tmp_path / "rows.parquet", tokens="length", **columns)
    with pytest.raises(UsageError, match="has no column 'words'"):
        Data.from_parquet(tmp_path / "rows.parquet", tokens="words", **columns)


def test_distances_are_taken_in_counts_of_tokens():
    x = batches.tokens([[1, 1, 2], [2, 1, 1], [3]])
    table = batches.table(x)
    assert torch.equal(table[0], table[1]) and table[0].sum() == 3 and not torch.equal(table[0], table[2])
    assert batches.table({"b": torch.ones(2, 3), "a": torch.zeros(2)}).shape == (2, 4)


def test_an_input_beside_tokens_that_has_one_entry_a_row_stays_as_it_is():
    rows, age = [[1, 2, 3], [4]], np.array([[20.0, 1.0, 5.0], [30.0, 2.0, 6.0]], np.float32)
    kinds = {"token_type_ids": np.array([[1, 2, 3], [4, 0, 0]]), "age": age}  # as wide as the tokens, by chance
    data = Data.from_arrays(batches.tokens(rows) | kinds, [0, 1])
    one, other = (data.gather([row])[0] for row in (0, 1))
    assert other["input_ids"].tolist() == [[4]] and other["age"].tolist() == age[1:].tolist()
    assert other["token_type_ids"].tolist() == [[4]]
    both = batches.join([other, one])
    assert lists(both) == [[4], [1, 2, 3]] and both["age"].tolist() == age[::-1].tolist()
    changed = Data.from_arrays(batches.tokens(rows) | kinds | {"age": age + np.array([[0], [1]], np.float32)}, [0, 1])
    assert (data.value_digests == changed.value_digests).tolist() == [True, False]
