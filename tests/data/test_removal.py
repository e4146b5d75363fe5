"""Rows removed from files: what is left is as it was, byte by byte where the file is text."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json
from pyarrow import parquet

from neuralyzer.data.removal import without
from neuralyzer.errors import DataChangedError, UnreadableError

CSV = 'id;text\r\n1;plain\r\n2;"two\r\nlines; and ""quotes"""\r\n\r\n3;"é"\r\n4;last'
JSONL = '{"id": 1, "t": "a"}\n\n{"id": 2, "t": "\\u00e9 \\" }"}\n  {"id": 3,  "t": "c"}\n{"id": 4, "t": "d"}'


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ([0, 1, 0, 0], 'id;text\r\n1;plain\r\n\r\n3;"é"\r\n4;last'),
        ([1, 0, 0, 1], 'id;text\r\n2;"two\r\nlines; and ""quotes"""\r\n\r\n3;"é"\r\n'),
        ([0, 0, 0, 0], CSV),
        ([1, 1, 1, 1], "id;text\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_csv_file(tmp_path, gone, left, encoding):
    path, to = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_bytes(CSV.encode(encoding))
    without(path, np.array(gone, bool), to, ";", encoding)
    assert to.read_bytes().decode(encoding) == left and path.read_bytes() == CSV.encode(encoding)


def test_a_csv_file_as_arrow_counts_its_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(CSV.encode())
    form = arrow_csv.ParseOptions(delimiter=";", newlines_in_values=True)
    before = arrow_csv.read_csv(path, parse_options=form)
    without(path, np.array([False, True, False, True]), path, ";")
    after = arrow_csv.read_csv(path, parse_options=form)
    assert after.equals(before.filter(pa.array([True, False, True, False])))


def test_a_json_lines_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(JSONL)
    before = arrow_json.read_json(path)
    without(path, np.array([False, True, False, True]), path)
    assert path.read_text() == '{"id": 1, "t": "a"}\n\n  {"id": 3,  "t": "c"}\n'
    assert arrow_json.read_json(path).equals(before.filter(pa.array([True, False, True, False])))
    assert [json.loads(line)["id"] for line in path.read_text().splitlines() if line] == [1, 3]


@pytest.mark.parametrize("group", [1, 3, 100])
def test_a_parquet_file_keeps_schema_and_metadata(tmp_path, group):
    path = tmp_path / "a.parquet"
    schema = pa.schema(
        [pa.field("n", pa.int16(), metadata={"unit": "m"}), ("names", pa.list_(pa.string()))], {"a": "b"}
    )
    table = pa.table({"n": range(7), "names": [[str(k)] * k for k in range(7)]}, schema=schema)
    parquet.write_table(table, path, row_group_size=group)
    table = parquet.read_table(path)
    gone = np.array([k in (0, 3, 4) for k in range(7)])
    without(path, gone, path)
    after = parquet.read_table(path)
    assert after.equals(table.filter(pa.array(~gone))) and after.schema.equals(table.schema, check_metadata=True)
    assert after.schema.metadata == {b"a": b"b"}


@pytest.mark.parametrize("rows", [3, 5])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_another_number_of_rows_is_refused_and_nothing_is_written(tmp_path, name, rows):
    path = tmp_path / name
    path.write_text(CSV if name == "a.csv" else JSONL)
    if name == "a.parquet":
        parquet.write_table(pa.table({"n": range(4)}), path)
    before = path.read_bytes()
    with pytest.raises(DataChangedError, match="changed meanwhile"):
        without(path, np.ones(rows, bool), path, ";")
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [name]


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(UnreadableError, match="none of"):
        without(tmp_path / "a.xlsx", np.ones(1, bool), tmp_path / "b.xlsx")
