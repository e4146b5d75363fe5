"""Hugging Face data sets as data."""

import numpy as np
import pytest

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError

datasets = pytest.importorskip("datasets")

ROWS = {
    "age": [30, 17, 45, 12],
    "text": ["a", "bb", "ccc", "dddd"],
    "label": [1, 0, 1, 2],
    "author": ["ann", "bob", "ann", None],
    "key": ["r1", "r2", "r3", "r4"],
}
COLUMNS = {"target": "label", "subject": "author", "id": "key"}


def made(**features):
    names = datasets.ClassLabel(names=["basic", "gold", "trial"])
    kinds = {name: datasets.Value("string") for name in ROWS} | {"age": datasets.Value("int64"), "label": names}
    return datasets.Dataset.from_dict(ROWS, features=datasets.Features(kinds | features))


def lengths(table):
    return np.array([[len(text)] for text in table["text"].to_pylist()], np.float32)


def test_a_hugging_face_data_set_is_data():
    data = Data.from_dataset(made(), **COLUMNS, features=["age"])
    assert data.x.tolist() == [[30], [17], [45], [12]] and data.y.tolist() == [1, 0, 1, 2]
    assert data.classes == ("basic", "gold", "trial") and data.labels.tolist() == ["gold", "basic", "gold", "trial"]
    assert data.ids.tolist() == ROWS["key"] and data.subjects.tolist() == ["ann", "bob", "ann", "row:r4"]
    assert data.where("age < 18 AND author = 'bob'").tolist() == [1]
    same = Data.from_arrays([[30.0], [17.0], [45.0], [12.0]], [1, 0, 1, 2], ROWS["author"], ROWS["key"])
    assert data.digest == same.digest


def test_features_of_text_or_images_are_made_when_rows_are_read():
    data = Data.from_dataset(made(), **COLUMNS, transform=lengths)
    assert data.gather([3, 1])[0].tolist() == [[4], [2]]
    images = datasets.Dataset.from_dict(
        {"image": [np.full((2, 2, 3), value, np.uint8) for value in (3, 7)], "label": [0, 1]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")}),
    )
    with pytest.raises(UsageError, match="'image' holds no plain numbers; leave it out with features= or give transf"):
        Data.from_dataset(images, target="label")

    def pixels(table):
        decode = datasets.Image().decode_example
        return np.stack([np.asarray(decode(image), np.float32) for image in table["image"].to_pylist()])

    assert Data.from_dataset(images, target="label", transform=pixels).x.mean((1, 2, 3)).tolist() == [3, 7]


def test_a_selection_and_an_order_of_the_data_set_hold():
    data = Data.from_dataset(made().select([3, 0, 1]), **COLUMNS, features=["age"])
    assert data.select([2, 0]).x.tolist() == [[17], [12]] and data.select([2, 0]).ids.tolist() == ["r2", "r4"]
    assert data.select([2, 0]).where("age < 15").tolist() == [1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name the target's with target="),
        ({"target": "class"}, "no column 'class'; it has age, text"),
        ({"target": "label", "subject": "who"}, "no column 'who'"),
        ({"target": "label", "features": ["text"]}, "'text' holds no plain numbers"),
        ({"target": "label", "ids": ["a"] * 4}, "name them with subject= and id="),
    ],
)
def test_what_cannot_be_read_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        Data.from_dataset(made(), **given)


def test_a_stream_or_several_splits_are_refused():
    with pytest.raises(UsageError, match="not a stream"):
        Data.from_dataset(made().to_iterable_dataset(), target="label")
    with pytest.raises(UsageError, match="one split"):
        Data.from_dataset(datasets.DatasetDict(train=made()), target="label")
