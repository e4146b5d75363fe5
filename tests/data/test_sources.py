"""Files as data, what is refused in them, and predicates that can reach nothing but the table."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch

from neuralyzer.data.columns import TableColumns
from neuralyzer.data.predicates import where
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError, UsageError

TABLE = pa.table(
    {
        "age": [30, 17, 45, 12],
        "income": [1.5, 0.0, 2.5, 0.5],
        "plan": ["gold", "basic", "gold", "trial"],
        "customer": ["ann", "bob", "ann", None],
        "key": ["r1", "r2", "r3", "r4"],
    }
)
COLUMNS = {"target": "plan", "subject": "customer", "id": "key"}


def write_jsonl(table, path):
    path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))


FORMATS = {
    "parquet": (pa.parquet.write_table, Data.from_parquet),
    "csv": (pa.csv.write_csv, Data.from_csv),
    "jsonl": (write_jsonl, Data.from_jsonl),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_files_give_the_rows_that_are_in_them(tmp_path, kind):
    write, read = FORMATS[kind]
    write(TABLE, tmp_path / "file")
    data = read(tmp_path / "file", **COLUMNS)
    assert data.x.tolist() == [[30, 1.5], [17, 0], [45, 2.5], [12, 0.5]] and data.x.dtype == torch.float32
    assert data.classes == ("basic", "gold", "trial") and data.y.tolist() == [1, 0, 1, 2]
    assert data.labels.tolist() == ["gold", "basic", "gold", "trial"]
    assert data.ids.tolist() == ["r1", "r2", "r3", "r4"] and not data.numbered
    assert data.subjects.tolist() == ["ann", "bob", "ann", "row:r4"]


def test_all_formats_give_one_digest(tmp_path):
    for kind, (write, _) in FORMATS.items():
        write(TABLE, tmp_path / kind)
    assert len({read(tmp_path / kind, **COLUMNS).digest for kind, (_, read) in FORMATS.items()}) == 1


def test_class_names_given_fix_their_numbers():
    names = ["trial", "gold", "basic"]
    assert Data.from_table(TABLE, **COLUMNS, classes=names).y.tolist() == [1, 2, 1, 0]
    with pytest.raises(UsageError, match="target 'trial' is none of the classes gold, basic"):
        Data.from_table(TABLE, **COLUMNS, classes=["gold", "basic"])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_kind_of_text_is_a_class(kind):
    table = pa.table({"a": [1, 2, 3], "y": pa.array(["no", "yes", "no"]).cast(kind)})
    data = Data.from_table(table, target="y")
    assert data.classes == ("no", "yes") and data.y.tolist() == [0, 1, 0]


def test_number_targets_keep_their_kind():
    assert Data.from_table(pa.table({"a": [1, 2], "y": [5, 3]}), target="y").y.tolist() == [5, 3]
    real = Data.from_table(pa.table({"a": [1, 2], "y": [0.25, 3]}), target="y")
    assert real.y.tolist() == [0.25, 3] and real.classes is None
    many = Data.from_table(pa.table({"a": [1, 2], "y": [[0.5, 1.0], [2.0, 3.0]]}), target="y")
    assert many.y.tolist() == [[0.5, 1], [2, 3]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64())])
def test_lists_of_equal_length_become_an_axis(kind):
    table = pa.table({"image": pa.array([[1, 2], [3, 4]], kind), "age": [5, 6], "y": [0, 1]})
    assert Data.from_table(table, target="y").x.tolist() == [[1, 2, 5], [3, 4, 6]]
    nested = pa.table({"image": [[[1, 2], [3, 4]]] * 2, "y": [0, 1]})
    assert Data.from_table(nested, target="y").x.shape == (2, 2, 2)


def test_features_and_transform_choose_what_the_model_sees():
    chosen = Data.from_table(TABLE, **COLUMNS, features=["income"])
    assert chosen.x.tolist() == [[1.5], [0], [2.5], [0.5]]
    made = Data.from_table(TABLE, **COLUMNS, transform=lambda table: np.array(table["age"]) / 10)
    assert made.x.tolist() == pytest.approx([3, 1.7, 4.5, 1.2])


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ({"a": [1.0], "y": [0]}, {"target": "label"}, "no column 'label'; it has a, y"),
        ({"a": [1.0], "y": [0]}, {"target": "y", "subject": "who"}, "no column 'who'"),
        ({"a": [1.0], "y": [0]}, {"target": "y", "id": "key"}, "no column 'key'"),
        ({"a": [1.0], "y": [0]}, {"target": "y", "features": ["b"]}, "no column 'b'"),
        ({"y": [0]}, {"target": "y"}, "no feature column"),
        ({"a": pa.array([], pa.float64()), "y": pa.array([], pa.int64())}, {"target": "y"}, "has no rows"),
        ({"a": [1.0, 2.0], "y": [0, None]}, {"target": "y"}, "1 rows have no 'y'"),
        ({"a": [1.0, 2.0], "y": [0.5, float("nan")]}, {"target": "y"}, "1 rows have no 'y'"),
        ({"a": [1.0, 2.0], "y": pa.array([1, 2], pa.date32())}, {"target": "y"}, "'y' holds dates"),
        ({"a": [1.0, 2.0], "y": [[1.0], [1.0, 2.0]]}, {"target": "y"}, "neither numbers nor text"),
        ({"a": [1.0, None], "y": [0, 1]}, {"target": "y"}, "'a' has missing values"),
        ({"a": ["x", "z"], "y": [0, 1]}, {"target": "y"}, "'a' holds no plain numbers"),
        ({"a": [[1.0], [1.0, 2.0]], "y": [0, 1]}, {"target": "y"}, "'a' holds no plain numbers"),
        ({"a": [[[1.0]], [[2.0]]], "b": [1, 2], "y": [0, 1]}, {"target": "y"}, "a, b have shapes"),
        ({"a": [1.0, 2.0], "y": [0, 1], "key": ["p", None]}, {"target": "y", "id": "key"}, "row 1 has no id"),
        ({"a": [1.0, 2.0], "y": [0, 1], "key": ["p", "p"]}, {"target": "y", "id": "key"}, "'p' stands 2 times"),
    ],
)
def test_tables_that_cannot_be_rows_are_refused(columns, given, message):
    with pytest.raises(UsageError, match=message):
        Data.from_table(pa.table(columns), **given)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_file_is_unreadable(tmp_path, kind):
    with pytest.raises(UnreadableError, match="does not exist"):
        FORMATS[kind][1](tmp_path / "none", **COLUMNS)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_unreadable(tmp_path, kind):
    write, read = FORMATS[kind]
    path = tmp_path / "file"
    write(TABLE, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] if kind == "parquet" else whole[: whole.rindex(b",")])  # within the last record
    with pytest.raises(UnreadableError, match="truncated"):
        read(path, **COLUMNS)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_empty_file_is_unreadable(tmp_path, kind):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnreadableError):
        FORMATS[kind][1](tmp_path / "file", **COLUMNS)


@pytest.mark.parametrize(
    ("predicate", "positions"),
    [
        ("age < 18", [1, 3]),
        ("age < 18 AND plan = 'trial'", [3]),
        ("customer IS NULL", [3]),
        ("plan LIKE 'g%' -- said the officer", [0, 2]),
        ("key IN ('r2', 'it''s')", [1]),
        ("age > 99", []),
    ],
)
def test_predicates_choose_rows(predicate, positions):
    assert where(TableColumns(TABLE), predicate).tolist() == positions


OTHER_TABLE = pa.table({"age": [30, 17, 45, 12]})


@pytest.mark.parametrize(
    "predicate",
    [
        "",
        "age <",
        "nothing = 1",
        "'gold'",
        "age < 18; DROP TABLE rows",
        "1=1; SELECT 1",
        "1=1) UNION SELECT 2 FROM rows WHERE (1=1",
        "1=1) UNION (SELECT 2",
        "1=1 UNION SELECT 2",
        "true LIMIT 1",
        "age < 18, age > 40",
        "sum(age) > 1",
        "age IN (SELECT age FROM OTHER_TABLE)",
        "age IN (SELECT age FROM numbered)",  # a variable of the function that evaluates it
        "age IN (SELECT age FROM 'numbered')",
        "EXISTS (SELECT * FROM read_text('{file}'))",
        "EXISTS (SELECT * FROM '{file}')",
        "EXISTS (FROM read_csv('{file}'))",
    ],
)
def test_a_predicate_is_one_expression_over_the_table(tmp_path, predicate):
    file = tmp_path / "secret.csv"
    file.write_text("age\n30\n")
    with pytest.raises(UsageError, match=r"predicate .* cannot be evaluated .*columns are age, income"):
        where(TableColumns(TABLE), predicate.format(file=file))
