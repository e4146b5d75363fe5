"""Data that is larger than memory: the same rows as of a small file, read in batches."""

import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from neuralyzer.data import columns, sources, text_files
from neuralyzer.data.rows import Data
from neuralyzer.errors import DataChangedError, UnreadableError, UsageError

ROWS = 20_000
COLUMNS = {"target": "plan", "subject": "customer", "id": "key"}


def table(rows=ROWS):
    generator = np.random.default_rng(0)
    return pa.table(
        {
            "age": generator.integers(0, 90, rows),
            "income": generator.normal(size=rows).astype(np.float32),
            "image": list(generator.normal(size=(rows, 3)).astype(np.float32)),
            # the last of the classes comes late, and first in the alphabet
            "plan": np.where(np.arange(rows) < rows - 10, generator.choice(["gold", "trial"], rows), "basic").tolist(),
            "customer": [None if at % 7 == 0 else f"customer {at % 900} of many" for at in range(rows)],
            "key": [f"r{at}" for at in range(rows)],
        }
    )


def halved(rows):
    return np.stack([np.array(rows["age"]) / 2, np.array(rows["income"])], axis=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "rows.parquet"
    parquet.write_table(table(), path, row_group_size=8_000)
    return path


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(columns, "BATCH", 3_000)
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)


@pytest.mark.parametrize(
    "given", [{}, {"transform": halved}, {"features": ["income"]}], ids=["plain", "transform", "features"]
)
def test_the_rows_are_those_of_a_small_file(path, given, monkeypatch):
    large = Data.from_parquet(path, **COLUMNS, **given)
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 1 << 40)
    small = Data.from_parquet(path, **COLUMNS, **given)
    assert "in memory" in small.size and "read from disk in batches" in large.size
    assert (large.x == small.x).all() and large.x.dtype == small.x.dtype and large.x.shape == small.x.shape
    assert (large.y == small.y).all() and large.classes == small.classes == ("basic", "gold", "trial")
    assert (large.ids == small.ids).all() and (large.subjects == small.subjects).all()
    assert large.digest == small.digest and (large.row_digests == small.row_digests).all()
    chosen = np.random.default_rng(1).permutation(ROWS)[:500]
    assert large.select(chosen).digest == small.select(chosen).digest
    predicate = "age < 18 AND customer IS NOT NULL"
    assert large.where(predicate).tolist() == small.where(predicate).tolist()
    assert large.select(chosen).where(predicate).tolist() == small.select(chosen).where(predicate).tolist()
    assert [len(y) for _, y in large.chunks(8_000)] == [8_000, 8_000, 4_000]


def as_csv(made, path):
    csv.write_csv(made.drop_columns(["image"]) if "image" in made.column_names else made, path)


def as_jsonl(made, path):
    path.write_text("".join(json.dumps(row) + "\n" for row in made.to_pylist()))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(text_files, "BLOCK", 1 << 16)


@pytest.mark.parametrize(
    ("write", "read"), [(as_csv, Data.from_csv), (as_jsonl, Data.from_jsonl)], ids=["csv", "jsonl"]
)
def test_large_text_files_are_read_in_blocks(tmp_path, write, read, monkeypatch, small_blocks):
    path = tmp_path / "rows"
    write(table(10_000), path)
    large = read(path, **COLUMNS)
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 1 << 40)
    small = read(path, **COLUMNS)
    assert "in memory" in small.size and "read from disk in batches" in large.size
    assert large.digest == small.digest and large.classes == small.classes
    assert large.where("age < 18").tolist() == small.where("age < 18").tolist()
    assert (pickle.loads(pickle.dumps(large._rows)).gather(np.arange(9))[0] == small.x[:9]).all()
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataChangedError, match="since it was opened"):
        large.gather([0])


@pytest.mark.parametrize(
    ("write", "read"), [(as_csv, Data.from_csv), (as_jsonl, Data.from_jsonl)], ids=["csv", "jsonl"]
)
def test_a_text_file_whose_types_change_on_the_way_is_refused(tmp_path, write, read, small_blocks):
    path = tmp_path / "rows"
    write(table(10_000), path)
    lines = path.read_bytes().splitlines()
    age = lines[-1].split(b",")[0]
    path.write_bytes(
        b"\n".join([*lines, lines[-1].replace(age, age.split(b":")[0] + b': "x"' if b":" in age else b"x")])
    )
    with pytest.raises(UnreadableError, match="cannot be read"):
        read(path, **COLUMNS)


def test_another_process_maps_the_same_file(path):
    data = Data.from_parquet(path, **COLUMNS)
    sent = pickle.dumps(data._rows)
    assert len(sent) < 2 * data.y.nbytes
    assert (pickle.loads(sent).gather(np.arange(9))[0] == data.x[:9]).all()


def test_the_temporary_file_goes_with_the_data(path):
    data = Data.from_parquet(path, **COLUMNS)
    made = data._rows._spool.path
    assert made.exists()
    del data
    assert not made.exists()


@pytest.mark.parametrize(
    ("use", "change"),
    [
        (lambda data: data.gather([0]), lambda path: parquet.write_table(table(90), path)),
        (lambda data: data.where("age < 18"), lambda path: parquet.write_table(table(90), path)),
        (lambda data: data.gather([0]), lambda path: os.utime(path, ns=(1, 1))),
        (lambda data: data.gather([0]), os.remove),
    ],
)
def test_a_file_that_changes_is_noticed(tmp_path, use, change):
    path = tmp_path / "rows.parquet"
    parquet.write_table(table(100), path)
    data = Data.from_parquet(path, **COLUMNS)
    use(data)
    change(path)
    with pytest.raises(DataChangedError, match="since it was opened"):
        use(data)


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({"age": [1] * 9_500 + [None] * 500}, {}, "from row 9,000 on: column 'age' has missing values"),
        ({"plan": ["gold"] * 9_999 + [None]}, {}, "from row 9,000 on: 1 rows have no 'plan'"),
        ({"key": ["r1"] * 10_000}, {}, "'r1' stands 10000 times"),
        ({"image": [[1.0]] * 9_000 + [[1.0, 2.0]] * 1_000}, {}, r"from row 9,000 on: features are float32 of shape"),
        ({}, {"transform": lambda rows: np.zeros(3)}, r"transform made features of shape \(3,\) of 3000 rows"),
    ],
)
def test_what_is_wrong_with_a_large_file_is_said_with_its_place(tmp_path, change, given, message):
    made = table(10_000)
    for name, values in change.items():
        made = made.set_column(made.column_names.index(name), name, pa.array(values))
    parquet.write_table(made, tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match=message):
        Data.from_parquet(tmp_path / "rows.parquet", **COLUMNS, **given)
