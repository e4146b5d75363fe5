"""``Data``: ids, subjects, selection, batches, digests."""

import numpy as np
import pytest
import torch

from neuralyzer.data.layout import as_target
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError

X = np.arange(12, dtype=np.float64).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])


class Pairs(torch.utils.data.Dataset):
    """Rows that remember which of them were read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 6

    def __getitem__(self, at):
        self.read.append(at)
        return torch.tensor(X[at], dtype=torch.float32), int(Y[at])


def both():
    return [Data.from_arrays(X, Y), Data.from_dataset(Pairs())]


@pytest.mark.parametrize("data", both(), ids=["arrays", "dataset"])
def test_rows_are_read_by_position(data):
    x, y = data.gather([4, 1])
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.tolist() == [[8, 9], [2, 3]] and y.tolist() == [0, 1]
    assert torch.equal(data.x, torch.tensor(X, dtype=torch.float32)) and data.y.tolist() == Y.tolist()


def test_a_dataset_is_read_only_where_asked():
    pairs = Pairs()
    data = Data.from_dataset(pairs, ids=list("abcdef")).select([5, 0, 3])
    data.gather([1, 2])
    assert pairs.read == [0, 3]


def test_data_of_arrays_and_of_a_dataset_have_one_digest():
    arrays, dataset = both()
    assert arrays.digest == dataset.digest


@pytest.mark.parametrize("change", [{"ids": list("abcdeX")}, {"subjects": list("uvwxyX")}, {"y": [0, 1, 0, 1, 0, 0]}])
def test_digest_covers_ids_subjects_and_contents(change):
    given = {"x": X, "y": Y, "ids": list("abcdef"), "subjects": list("uvwxyz")}
    assert Data.from_arrays(**given).digest == Data.from_arrays(**given).digest
    assert Data.from_arrays(**(given | change)).digest != Data.from_arrays(**given).digest


def test_equal_rows_have_equal_digests_under_any_id():
    data = Data.from_arrays([[1.0], [2.0], [1.0], [1.0]], [0, 0, 0, 1], subjects=["a", "b", "c", "d"])
    first, second, third, fourth = data.row_digests.tolist()
    assert first == third and len({first, second, fourth}) == 3


def test_integer_features_stay_for_they_are_tokens():
    assert Data.from_arrays([[1, 2]], [0]).x.dtype == torch.int64
    assert as_target([0.5]).dtype == torch.float32


def test_data_shares_nothing_with_the_arrays_it_came_from():
    x, y = X.copy(), torch.tensor(Y)
    data = Data.from_arrays(x, y)
    x[:], y[:] = -1, -1
    assert data.x.min() == 0 and data.y.max() == 1


def test_an_array_that_must_not_be_written_is_read_without_a_warning():
    x = X.copy()
    x.setflags(write=False)
    assert Data.from_arrays(x.astype(np.float32, copy=False), Y).x.sum() == X.sum()


def test_a_row_without_a_subject_is_its_own():
    assert Data.from_arrays(X, Y).subjects.tolist() == [f"row:{at}" for at in range(6)]
    mixed = Data.from_arrays(X, Y, subjects=["a", None, float("nan"), 7, "a", "b"], ids=list("pqrstu"))
    assert mixed.subjects.tolist() == ["a", "row:q", "row:r", "7", "a", "b"]


def test_ids_must_be_unique():
    with pytest.raises(UsageError, match="'b' stands 3 times"):
        Data.from_arrays(X, Y, ids=list("abbbcd"))


def test_an_id_and_its_text_are_the_same_id():
    with pytest.raises(UsageError, match="unique"):
        Data.from_arrays(X, Y, ids=[1, "1", 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": Y[:5]}, "x has 6 rows and y has 5"),
        ({"ids": list("abc")}, "6 rows and 3 ids"),
        ({"subjects": list("abc")}, "6 rows and 3 subjects"),
    ],
)
def test_lengths_must_agree(given, message):
    with pytest.raises(UsageError, match=message):
        Data.from_arrays(**({"x": X, "y": Y} | given))


def test_selection_keeps_ids_subjects_and_order():
    data = Data.from_arrays(X, Y, subjects=list("uvwxyz"))
    chosen = data.select([4, 0, 2]).select([2, 0])
    assert chosen.ids.tolist() == ["2", "4"] and chosen.subjects.tolist() == ["w", "y"] and chosen.numbered
    assert chosen.x.tolist() == [[4, 5], [8, 9]]
    mask = data.select(data.subjects >= "x")
    assert mask.ids.tolist() == ["3", "4", "5"]


def test_a_seeded_pass_meets_each_row_once_and_repeats():
    data = Data.from_arrays(X, Y, ids=list("abcdef"))
    passed = [batch for _, _, batch in data.loader(4, seed=3, ids=True)]
    assert [len(batch) for batch in passed] == [4, 2]
    assert sorted(np.concatenate(passed)) == list("abcdef") != np.concatenate(passed).tolist()
    again = [batch for _, _, batch in data.loader(4, seed=3, ids=True)]
    assert np.concatenate(again).tolist() == np.concatenate(passed).tolist()
    assert torch.cat([x for x, _ in data.loader(4)]).tolist() == X.tolist()


def test_a_predicate_without_a_table_may_name_id_and_subject():
    data = Data.from_arrays(X, Y, subjects=["a", "b", "a", "c", "d", "a"])
    assert data.where("subject = 'a' AND id <> '2'").tolist() == [0, 5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"x": 1, "y": 0}, "row 0 of the data set is a dict of x, y; give a datasets.Dataset with target="),
        ("text", r"row 0 of the data set is a str, neither a pair \(x, y\) nor a dict"),
        ((1, 2, 3), "row 0 of the data set is a tuple, neither"),
    ],
)
def test_rows_of_a_dataset_are_pairs(row, message):
    with pytest.raises(UsageError, match=message):
        _ = Data.from_dataset([row] * 3).x


def test_a_dataset_of_pairs_has_no_columns():
    with pytest.raises(UsageError, match="a Pairs has no columns; target= has no meaning"):
        Data.from_dataset(Pairs(), target="label")


def test_a_row_is_selected_once():
    with pytest.raises(UsageError, match="3 positions name 2 rows"):
        Data.from_arrays(X, Y).select([1, 2, 1])


def test_digests_are_what_certificates_and_pools_hold():
    """As they were before rows' digests became bytes and text of variable width."""
    plain = Data.from_arrays(X, Y)
    assert plain.digest == "c18beb021198513b696fbf32689cdef51b1a4c1d331ac4fd7f9b801d81104c9e"
    one = "bb407e9b1d2129eba748fea5470a05048e926f1320ebdb32dacc915e593721e7"
    assert plain.row_digests[1].tobytes().hex() == one
    assert plain.select([4, 0, 2]).digest == "b461c1f8afc63797dd7ec2d8a162dcaf3814b894ac49ac8d0da78099ac89daf5"
    owned = Data.from_arrays(X, Y / 2, ["ann", None, "é", "", "b", "b"], list("abcdef"))
    assert owned.digest == "f52616700131c7c298b761e39ec0e719e7ee5fe4f18bb3234d9402587595b36b"
    many = Data.from_arrays(
        np.arange(24).reshape(6, 2, 2), np.stack([Y, Y], 1).astype(float), [1, 2, 3, 4, 5, 5], [10, 11, 12, 13, 14, 15]
    )
    assert many.digest == "9593254fe2de74092accee25a5eecb2c340eb9cd0d6db4a28a7ff56b31b87418"


def test_rows_of_different_lengths_are_refused_in_one_line():
    pairs = [(torch.ones(length), torch.tensor(0)) for length in (3, 3, 4)]
    with pytest.raises(UsageError, match=r"row 2 of the data set has features of shape \(4,\) and row 0 of \(3,\)"):
        Data.from_dataset(pairs).gather([0, 1, 2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool])
def test_rows_of_other_numbers_become_single_precision(dtype):
    x = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    for data in (
        Data.from_dataset([(own, torch.tensor(1.0, dtype=torch.float64)) for own in x]),
        Data.from_arrays(x, [1, 0]),
    ):
        assert data.gather([0, 1])[0].dtype == torch.float32 and data.x.tolist() == [[0, 1], [1, 1]]
        assert data.digest
    assert Data.from_arrays(np.array([[1, 2]]), [0]).x.dtype == torch.int64  # tokens stay
