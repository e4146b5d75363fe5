"""Rows of tokens in a temporary file: the values, digests and order of rows in memory, however the file is read."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

from neuralyzer.data import batches, columns, conversations, sources, text_files
from neuralyzer.data.rows import Data
from neuralyzer.data.token_rows import TokenRows, TokenWriter
from neuralyzer.errors import DataChangedError, StorageError, UsageError
from tests.data.test_conversations import Letters, write

DRAW = np.random.default_rng(0)
ROWS = [
    {"who": f"p{k % 7}", "key": f"{k:03d}", "prompt": "ab" * (k % 3 + 1), "completion": "".join(DRAW.choice([*"abcde"], k % 9 + 1))}
    for k in range(200)
]  # fmt: skip


def in_memory(rows=ROWS):
    """The same rows as padded tensors, made without the code under test."""
    asked = [[*(ord(letter) - 96 for letter in row["prompt"]), 27] for row in rows]
    said = [[*(ord(letter) - 96 for letter in row["completion"]), 0] for row in rows]
    width = max(len(a) + len(b) for a, b in zip(asked, said, strict=True))
    ids, mask, targets = (torch.zeros(len(rows), width, dtype=torch.int64) for _ in range(3))
    for k, (a, b) in enumerate(zip(asked, said, strict=True)):
        ids[k, : len(a) + len(b)], mask[k, : len(a) + len(b)] = torch.tensor(a + b), 1
        targets[k, len(a) : len(a) + len(b)] = 1
    x = {"input_ids": ids, "attention_mask": mask, "target_mask": targets}
    y = torch.tensor([float(len(b)) for b in said])
    return Data.from_arrays(x, y, [row["who"] for row in rows], [row["key"] for row in rows])


def read(path, **settings):
    return Data.from_texts(path, Letters(), subject="who", id="key", **settings)


@pytest.fixture
def streamed(monkeypatch):
    """Files are read in many small batches."""
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(columns, "BATCH", 60)
    monkeypatch.setattr(text_files, "BLOCK", 1 << 12)
    monkeypatch.setattr(conversations, "CHUNK", 16)


@pytest.fixture(params=["jsonl", "parquet", "csv"])
def path(tmp_path, request):
    path = tmp_path / f"rows.{request.param}"
    if request.param == "jsonl":
        return write(path, ROWS)
    (parquet.write_table if request.param == "parquet" else csv.write_csv)(pa.Table.from_pylist(ROWS), path)
    return path


def require_same(data, want):
    assert data.digest == want.digest and (data.row_digests == want.row_digests).all()
    assert (data.value_digests == want.value_digests).all()
    assert data.ids.tolist() == want.ids.tolist() and data.subjects.tolist() == want.subjects.tolist()
    for positions in ([199, 0, 17, 16, 15], [3], list(range(200))):
        (x, y), (own, target) = data.gather(positions), want.gather(positions)
        assert set(x) == set(own) and torch.equal(y, target) and y.dtype == target.dtype
        assert all(torch.equal(x[name], own[name]) and x[name].dtype == own[name].dtype for name in x)


def test_the_rows_are_those_of_tensors_in_memory(path):
    require_same(read(path), in_memory())


def test_a_large_file_is_read_in_batches_and_gives_the_same_rows(path, streamed):
    data = read(path)
    assert len(data._rows._parts) > 10  # it was read in several batches indeed
    require_same(data, in_memory())
    assert data.where("completion = 'a'").tolist() == [k for k, row in enumerate(ROWS) if row["completion"] == "a"]
    os.utime(path, ns=(1, 1))
    assert data.gather([0])[1].tolist() == [2.0]  # the tokens were taken; the columns are read again
    with pytest.raises(DataChangedError, match="since it was opened"):
        data.where("completion = 'a'")


def test_some_rows_and_none(tmp_path):
    data, want = read(write(tmp_path / "rows.jsonl", ROWS)), in_memory()
    chosen = np.random.default_rng(1).permutation(200)[:50]
    assert data.select(chosen).digest == want.select(chosen).digest
    x, y = data.gather([])
    assert len(y) == 0 and {name: values.shape for name, values in x.items()} == dict.fromkeys(x, (0, 1))


def test_another_process_maps_the_same_file(tmp_path):
    many = [row | {"key": f"{copy}-{row['key']}", "completion": "abcde" * 40} for copy in range(20) for row in ROWS]
    data = read(write(tmp_path / "rows.jsonl", many))
    sent = pickle.dumps(data._rows)
    assert len(sent) < 2 * data.y.nbytes < batches.count(data.x) * 200  # a row has 200 tokens and more
    script = (
        "import pickle, sys; rows = pickle.load(sys.stdin.buffer); print(rows.gather([7])[0]['input_ids'].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True, check=True)
    assert json.loads(done.stdout) == data.gather([7])[0]["input_ids"].tolist()


def test_the_temporary_file_goes_with_the_data(tmp_path):
    data = read(write(tmp_path / "rows.jsonl", ROWS))
    made = data._rows._folder.path
    assert made.exists()
    del data
    assert not made.exists()


def test_rows_on_another_machine_are_one_clear_line(tmp_path):
    data = read(write(tmp_path / "rows.jsonl", ROWS))
    sent = pickle.dumps(data._rows)
    shutil.rmtree(data._rows._folder.path)
    with pytest.raises(StorageError, match="set TMPDIR to a folder that they share"):
        pickle.loads(sent)


@pytest.mark.parametrize(
    ("ids", "line"), [([1, -2], "whole numbers of 0 or more"), ([1.5, 2.0], "whole numbers"), ([1, 2**31], "2,147,483,647")]
)  # fmt: skip
def test_what_is_no_token_is_refused(ids, line):
    with pytest.raises(UsageError, match=line):
        TokenWriter().append([(ids, [1, 1])])


def test_a_full_disk_is_one_clear_line():
    class Full:
        def write_batch(self, batch):
            raise OSError(28, "No space left on device")

    writer = TokenWriter()
    writer._file = Full()
    with pytest.raises(StorageError, match="No space left on device; free space or set TMPDIR to a larger disk"):
        writer.append([([1, 2], [1, 1])])


def test_no_rows_at_all():
    rows = TokenWriter().rows()
    assert isinstance(rows, TokenRows) and len(rows) == 0


def test_a_large_file_without_its_columns_is_refused(tmp_path, streamed):
    path = write(tmp_path / "rows.jsonl", [{"text": "ab"}] * 9)
    with pytest.raises(UsageError, match="has no column 'who'; it has"):
        read(path)
    data = read(path, lenient=True)
    assert data.numbered and data.subjects.tolist() == [f"row:{k}" for k in range(9)]
    with pytest.raises(UsageError, match="row 5 has no text"):
        read(write(path, [*[{"text": "ab"}] * 5, {"text": None}]), lenient=True)
