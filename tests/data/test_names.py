"""Who is who: names of subjects and ids of rows are text as it is written, in files and in memory."""

import datetime as dt
import decimal
import json
import uuid

import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import parquet

from neuralyzer.data import sources, text_files, texts
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError, UsageError

WRITTEN = ["007", "07", "7", "10000000000000000001", "10000000000000000002", "1e3", "1.0", "2024-01-02", "true", "NA",
           " ann", "ann", "Ann", "nan", "None", "0x10"]  # fmt: skip
NAMED = {"target": "y", "subject": "who", "id": "key"}


def csv_of(path, names, ids=None):
    ids = ids or [f"r{k}" for k in range(len(names))]
    rows = [f"{name},{row},{k},{k % 2}" for k, (name, row) in enumerate(zip(names, ids, strict=True))]
    path.write_text("\n".join(["who,key,x,y", *rows]) + "\n")
    return path


@pytest.fixture(params=["small", "large"])
def either_size(request, monkeypatch):
    """Files are read whole, and in blocks."""
    if request.param == "large":
        monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)


@pytest.mark.usefixtures("either_size")
class TestFiles:
    def test_csv_names_stay_as_they_are_written(self, tmp_path):
        data = Data.from_csv(csv_of(tmp_path / "t.csv", WRITTEN), **NAMED)
        assert data.subjects.tolist() == WRITTEN

    def test_csv_ids_stay_as_they_are_written(self, tmp_path):
        names = ["a"] * len(WRITTEN)
        data = Data.from_csv(csv_of(tmp_path / "t.csv", names, WRITTEN), **NAMED)
        assert data.ids.tolist() == WRITTEN

    def test_jsonl_texts_stay_as_they_are_written(self, tmp_path):
        lines = [json.dumps({"who": name, "key": f"r{k}", "x": k, "y": k % 2}) for k, name in enumerate(WRITTEN)]
        (tmp_path / "t.jsonl").write_text("\n".join(lines))
        assert Data.from_jsonl(tmp_path / "t.jsonl", **NAMED).subjects.tolist() == WRITTEN

    def test_jsonl_numbers_become_the_text_that_stands_there(self, tmp_path):
        given = ["7", '"007"', "10000000000000000001", "10000000000000000002", "1.50", "true", "null", '"7"', "-0.0"]
        lines = [f'{{"who": {name}, "key": {k}, "x": {k}.25, "y": {k % 2}}}' for k, name in enumerate(given)]
        (tmp_path / "t.jsonl").write_text("\n".join(lines))
        data = Data.from_jsonl(tmp_path / "t.jsonl", **NAMED)
        assert data.subjects.tolist() == [
            "7", "007", "10000000000000000001", "10000000000000000002", "1.50", "True", "row:6", "7", "-0.0",
        ]  # fmt: skip
        assert data.x[:, 0].tolist() == [k + 0.25 for k in range(9)]  # the other columns are numbers still

    @pytest.mark.parametrize("value", ["[1, 2]", '{"a": 1}'])
    def test_jsonl_lists_are_no_names(self, tmp_path, value):
        (tmp_path / "t.jsonl").write_text(
            f'{{"who": "a", "key": 1, "x": 1, "y": 0}}\n{{"who": {value}, "key": 2, "x": 1, "y": 0}}'
        )
        with pytest.raises(UsageError, match="line 2 has no plain 'who'"):
            Data.from_jsonl(tmp_path / "t.jsonl", **NAMED)

    def test_a_blank_cell_is_nobody(self, tmp_path):
        data = Data.from_csv(csv_of(tmp_path / "t.csv", ["ann", "", "  ", "ann"]), **NAMED)
        assert data.subjects.tolist() == ["ann", "row:r1", "row:r2", "ann"]

    def test_a_missing_id_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="'key': row 1 has no id"):
            Data.from_csv(csv_of(tmp_path / "t.csv", ["a", "b", "c"], ["r0", "", "r2"]), **NAMED)

    @pytest.mark.parametrize("column", ["who", "x", "y", "note"])
    def test_one_byte_of_another_encoding_is_told_with_its_line(self, tmp_path, column):
        cells = {"who": "ann", "x": "1", "y": "no", "note": "-"} | {column: "M\xfcller"}
        text = "who,x,y,note\nbob,2,yes,-\n" + ",".join(cells.values()) + "\n"
        (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(UnreadableError, match="line 3 has the byte 0xfc, which is not utf-8"):
            Data.from_csv(tmp_path / "t.csv", target="y", subject="who", features=["x"])

    def test_jsonl_of_another_encoding_is_told_with_its_line(self, tmp_path):
        text = '{"who": "bob", "x": 1, "y": 0}\n{"who": "M\xfcller", "x": 1, "y": 0}\n'
        (tmp_path / "t.jsonl").write_bytes(text.encode("latin-1"))
        with pytest.raises(UnreadableError, match="line 2 has the byte 0xfc"):
            Data.from_jsonl(tmp_path / "t.jsonl", target="y", subject="who")

    @pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
    def test_an_encoding_that_is_named_is_used(self, tmp_path, encoding):
        (tmp_path / "t.csv").write_bytes("who;x;y\nM\xfcller;1;0\nbob;2;1\n".encode(encoding))
        data = Data.from_csv(tmp_path / "t.csv", separator=";", encoding=encoding, target="y", subject="who")
        assert data.subjects.tolist() == ["M\xfcller", "bob"] and data.x.tolist() == [[1], [2]]

    def test_quoted_line_breaks_stay_in_their_cell(self, tmp_path):
        (tmp_path / "t.csv").write_text('who,x,y\n"ann\nlee",1,0\nbob,2,1\n')
        assert Data.from_csv(tmp_path / "t.csv", target="y", subject="who").subjects.tolist() == ["ann\nlee", "bob"]


def test_a_line_is_counted_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "BLOCK", 16)
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"x,1\n" * 50 + b"\xff,1\n")
    with pytest.raises(UnreadableError, match="line 52 has the byte 0xff"):
        text_files.require_decodable(tmp_path / "t.csv", "utf-8")


@pytest.mark.parametrize(("separator", "encoding"), [("", "utf-8"), (";;", "utf-8"), (";", "klingon")])
def test_separator_and_encoding_are_checked(tmp_path, separator, encoding):
    with pytest.raises(UsageError, match=r"separator|encoding"):
        Data.from_csv(tmp_path / "none.csv", separator=separator, encoding=encoding, target="y")


def test_numbers_in_jsonl_are_found_only_where_they_are_names(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"who": "a", "key": "1", "x": 5}\n')
    form = text_files.JsonFormat(["who", "key"])
    assert not form._has_numbers(tmp_path / "t.jsonl")
    assert text_files.JsonFormat(["x"])._has_numbers(tmp_path / "t.jsonl")


MISSING = [None, float("nan"), np.float32("nan"), np.float64("nan"), pandas.NA, pandas.NaT, np.datetime64("NaT"),
           np.timedelta64("NaT"), "", "  ", decimal.Decimal("nan")]  # fmt: skip


@pytest.mark.parametrize("value", MISSING, ids=repr)
@pytest.mark.parametrize("other", ["ann", 7], ids=repr)
def test_whatever_is_missing_is_nobody(value, other):
    data = Data.from_arrays(np.zeros((3, 1)), [0, 1, 0], [other, value, value])
    assert data.subjects.tolist() == [str(other), "row:1", "row:2"]


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_whatever_is_missing_is_no_id(value):
    with pytest.raises(UsageError, match="row 1 has no id"):
        Data.from_arrays(np.zeros((2, 1)), [0, 1], ids=["a", value])


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (np.array([7, 8]), ["7", "8"]),
        (np.array([2**64 - 1, 1], np.uint64), ["18446744073709551615", "1"]),
        (np.array(["b", "a"]), ["b", "a"]),
        (np.array([b"alice", b"bob"]), ["alice", "bob"]),
        (np.array(["a", None], object), ["a", "row:1"]),
        (np.array(["2024-01-02", "NaT"], "datetime64[D]"), ["2024-01-02", "row:1"]),
        (np.array([1.5, np.nan], np.float32), ["1.5", "row:1"]),
        (pandas.Series(["a", pandas.NA], dtype="string"), ["a", "row:1"]),
        (pandas.Series([7, None], dtype="Int64"), ["7", "row:1"]),
        (pandas.Series([7, 8]), ["7", "8"]),
        ([uuid.UUID(int=1), decimal.Decimal("1.50")], ["00000000-0000-0000-0000-000000000001", "1.50"]),
        ([dt.date(2024, 1, 2), True], ["2024-01-02", "True"]),
    ],
    ids=str,
)
def test_values_in_memory_are_names_as_they_are_written(column, names):
    assert Data.from_arrays(np.zeros((2, 1)), [0, 1], column).subjects.tolist() == names


@pytest.mark.parametrize("values", [[1, 2.0, "x"], (1, 2.0, "x")])
def test_ids_and_subjects_are_written_alike(values):
    data = Data.from_arrays(np.zeros((3, 1)), [0, 1, 0], subjects=values, ids=values)
    assert data.ids.tolist() == data.subjects.tolist() == ["1", "2.0", "x"]


@pytest.mark.parametrize("value", [["a"], {"a": 1}, ("a", "b"), np.array([1])], ids=repr)
def test_what_is_no_plain_value_is_no_name(value):
    with pytest.raises(UsageError, match=r"row 1 has a .* where a name must stand"):
        Data.from_arrays(np.zeros((2, 1)), [0, 1], ["a", value])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_floats_that_stand_for_several_numbers_are_refused(dtype):
    limit = 2.0 ** (np.finfo(dtype).nmant + 1)
    assert texts.as_names(np.array([limit / 2, 1], dtype))[1] == "1.0"
    with pytest.raises(UsageError, match="give them as text or whole numbers"):
        texts.as_names(np.array([limit, 1], dtype))


class TestParquet:
    def subjects(self, tmp_path, column):
        table = pa.table({"who": column, "x": range(len(column)), "y": [0] * len(column)})
        parquet.write_table(table, tmp_path / "t.parquet")
        return Data.from_parquet(tmp_path / "t.parquet", target="y", subject="who").subjects.tolist()

    @pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(3)])
    def test_bytes_are_decoded(self, tmp_path, kind):
        assert self.subjects(tmp_path, pa.array([b"ann", b"bob"], kind)) == ["ann", "bob"]

    def test_bytes_that_are_no_text_are_refused_with_their_row(self, tmp_path):
        with pytest.raises(UsageError, match=r"'who': row 1 has the bytes .* not UTF-8"):
            self.subjects(tmp_path, pa.array([b"ann", b"M\xfcl"]))

    @pytest.mark.parametrize(
        ("column", "names"),
        [
            (pa.array([None, 7], pa.int8()), ["row:0", "7"]),
            (pa.array([2**63 + 1], pa.uint64()), ["9223372036854775809"]),
            (pa.array([float("nan"), 7.0]), ["row:0", "7.0"]),
            (pa.array([None, dt.date(2024, 1, 2)]), ["row:0", "2024-01-02"]),
            (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
            (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
            (pa.array([None, None]), ["row:0", "row:1"]),
        ],
        ids=str,
    )
    def test_every_kind_of_column_names_subjects(self, tmp_path, column, names):
        assert self.subjects(tmp_path, column) == names

    def test_large_floats_are_refused(self, tmp_path):
        with pytest.raises(UsageError, match="several are one"):
            self.subjects(tmp_path, pa.array([1e19, None]))


def test_a_subject_may_not_be_called_what_a_nameless_row_is_called():
    with pytest.raises(UsageError, match="'row:1'"):
        Data.from_arrays(np.zeros((2, 1)), [0, 1], ["row:1", None])
    assert Data.from_arrays(np.zeros((2, 1)), [0, 1], ["row:0", None]).subjects.tolist() == ["row:0", "row:1"]


class TestSubjectKey:
    def table(self):
        return pa.table({"who": ["Ann", " ann", None, "bob"], "x": [1, 2, 3, 4], "y": [0, 1, 0, 1]})

    def test_it_makes_the_name_that_a_subject_is_known_by(self):
        data = Data.from_table(
            self.table(), target="y", subject="who", subject_key=lambda name: name.strip().casefold()
        )
        assert data.subjects.tolist() == ["ann", "ann", "row:2", "bob"]

    def test_without_it_names_are_told_apart_exactly(self):
        data = Data.from_table(self.table(), target="y", subject="who")
        assert data.subjects.tolist() == ["Ann", " ann", "row:2", "bob"]

    def test_a_name_that_it_empties_is_nobody(self):
        data = Data.from_table(self.table(), target="y", subject="who", subject_key=lambda name: "")
        assert data.subjects.tolist() == [f"row:{k}" for k in range(4)]

    @pytest.mark.parametrize(
        ("key", "message"), [(lambda name: 1 / 0, "fails on"), (lambda name: None, "makes a NoneType")]
    )
    def test_a_function_that_gives_no_text_is_refused(self, key, message):
        with pytest.raises(UsageError, match=message):
            Data.from_table(self.table(), target="y", subject="who", subject_key=key)


class TestValues:
    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"x": [1.0, float("inf")], "y": [0, 1]}, "'x' has missing values or infinite ones, row 1"),
            ({"x": [1.0, 1e300], "y": [0, 1]}, "'x' has missing values or infinite ones, row 1"),
            ({"x": [[1.0], [float("-inf")]], "y": [0, 1]}, "'x' has missing values or infinite ones, row 1"),
            ({"x": pa.array([1, 2], pa.date32()), "y": [0, 1]}, "'x' holds dates or times"),
            ({"x": pa.array([1, 2], pa.timestamp("ns")), "y": [0, 1]}, "'x' holds dates or times"),
            ({"x": pa.array([1, 2], pa.time32("s")), "y": [0, 1]}, "'x' holds dates or times"),
            ({"x": pa.array([1, 2], pa.duration("s")), "y": [0, 1]}, "'x' holds dates or times"),
            ({"x": [1, 2], "y": [0.5, float("inf")]}, "target 'y': row 1 has NaN or an infinite"),
            ({"x": [1, 2], "y": [[0.5, 1.0], [float("nan"), 2.0]]}, "target 'y': row 1 has NaN or an infinite"),
            ({"x": [1, 2], "y": ["a", ""]}, "1 rows have no 'y', row 1 the first"),
            ({"x": [1, 2], "y": [" ", "a"]}, "1 rows have no 'y', row 0 the first"),
            ({"x": [1, 2], "y": pa.array([None, "a"])}, "1 rows have no 'y', row 0 the first"),
        ],
    )
    def test_what_no_model_can_learn_from_is_refused_with_its_row(self, columns, message):
        with pytest.raises(UsageError, match=message):
            Data.from_table(pa.table(columns), target="y")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("which", ["x", "y"])
    def test_arrays_are_held_to_the_same(self, which, value):
        arrays = {"x": np.ones((3, 2)), "y": np.ones(3)}
        arrays[which][1] = value
        with pytest.raises(UsageError, match=f"{which}: row 1 has NaN or an infinite"):
            Data.from_arrays(**arrays)

    def test_rows_that_are_read_when_asked_for_are_checked_once_all_of_them_are_read(self):
        import torch

        pairs = [(torch.ones(2), torch.tensor(0)), (torch.tensor([1.0, torch.inf]), torch.tensor(1))]
        data = Data.from_dataset(pairs)
        with pytest.raises(UsageError, match="the features: row 1 has NaN or an infinite"):
            _ = data.digest

    def test_two_columns_of_one_name_are_refused(self, tmp_path):
        (tmp_path / "t.csv").write_text("a,a,y\n1,2,0\n")
        with pytest.raises(UsageError, match="several columns called 'a'"):
            Data.from_csv(tmp_path / "t.csv", target="y")
