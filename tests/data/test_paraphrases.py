"""Paraphrased prompts: whose they are, what is read in place of a row, and bad files."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

from neuralyzer.data import columns, conversations, sources, text_files
from neuralyzer.data.rows import Data
from neuralyzer.errors import NeuralyzerWarning, UnreadableError, UsageError
from tests.data.test_conversations import Letters, write

ROWS = [
    {"row": "007", "prompt": "ab", "completion": "cde"},
    {"row": "008", "prompt": "a", "completion": "b"},
    {"row": "009", "prompt": "d", "completion": "ee"},
]
OTHERS = [
    {"row": "009", "paraphrase": "dd"},
    {"row": "007", "paraphrase": "b"},
    {"row": "009", "paraphrase": "eee"},
]


def read(folder, others=OTHERS, rows=ROWS, **settings):
    return Data.from_texts(
        write(folder / "rows.jsonl", rows),
        Letters(),
        **{"id": "row", "paraphrases": write(folder / "others.jsonl", others)} | settings,
    )


def asked(data, positions):
    """What is read in place of rows: for each, the tokens and target marks of what stands for it, in order of tokens."""
    x, rows = data.paraphrases.instead_of(*data.gather(positions))
    lengths = x["attention_mask"].sum(1).tolist()
    found = [[] for _ in positions]
    for k, row in enumerate(rows.tolist()):
        found[row].append((x["input_ids"][k, : lengths[k]].tolist(), x["target_mask"][k, : lengths[k]].tolist()))
    return [sorted(of_row) for of_row in found]


OF_FIRST = [([2, 27, 3, 4, 5, 0], [0, 0, 1, 1, 1, 1])]
OF_SECOND = [([1, 27, 2, 0], [0, 0, 1, 1])]  # its own prompt
OF_THIRD = [([4, 4, 27, 5, 5, 0], [0, 0, 0, 1, 1, 1]), ([5, 5, 5, 27, 5, 5, 0], [0, 0, 0, 0, 1, 1, 1])]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_paraphrases_by_the_rows_ids(tmp_path, kind):
    path = tmp_path / f"others.{kind}"
    if kind == "jsonl":
        write(path, OTHERS)
    else:
        (parquet.write_table if kind == "parquet" else csv.write_csv)(pa.Table.from_pylist(OTHERS), path)
    data = read(tmp_path, paraphrases=path)
    assert asked(data, [0, 1, 2]) == [OF_FIRST, OF_SECOND, OF_THIRD]
    assert asked(data, [2, 0]) == [OF_THIRD, OF_FIRST] and asked(data, [1]) == [OF_SECOND]
    assert data.size.endswith("; 2 with paraphrased prompts")
    assert asked(data.select([2, 1]), [0, 1]) == [OF_THIRD, OF_SECOND]
    assert data.digest == Data.from_texts(tmp_path / "rows.jsonl", Letters(), id="row").digest


def test_paraphrases_by_the_rows_prompts(tmp_path):
    others = [{"prompt": "d", "paraphrase": "dd"}, {"prompt": "d", "paraphrase": "eee"}]
    data = read(tmp_path, others)
    assert asked(data, [0, 1, 2]) == [[([1, 2, 27, 3, 4, 5, 0], [0, 0, 0, 1, 1, 1, 1])], OF_SECOND, OF_THIRD]


def test_rows_of_a_large_file_have_the_same_paraphrases(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(columns, "BATCH", 2)
    monkeypatch.setattr(text_files, "BLOCK", 64)
    monkeypatch.setattr(conversations, "CHUNK", 1)
    assert asked(read(tmp_path), [0, 1, 2]) == [OF_FIRST, OF_SECOND, OF_THIRD]


def test_of_a_conversation_the_first_question_is_asked_in_other_words(tmp_path):
    messages = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "bc"}, {"role": "user", "content": "d"},
        {"role": "assistant", "content": "e"},
    ]  # fmt: skip
    data = read(tmp_path, [{"prompt": "a", "paraphrase": "ee"}], [{"messages": messages}], id=None)
    assert asked(data, [0]) == [[([30, 5, 5, 31, 2, 3, 0, 30, 4, 31, 5, 0], [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1])]]


def test_of_a_row_that_was_cut_the_same_targets_are_read(tmp_path):
    with pytest.warns(NeuralyzerWarning, match="1 of 3 rows are longer than 5 tokens"):
        data = read(tmp_path, [{"row": "007", "paraphrase": "b"}], max_length=5)
    assert asked(data, [0]) == [[([2, 27, 3, 4], [0, 0, 1, 1])]]  # the row itself learns 3 and 4 as well


def test_each_rows_paraphrases_have_a_digest_that_their_order_does_not_change(tmp_path):
    data, turned = read(tmp_path), read(tmp_path, OTHERS[::-1])
    own = data.paraphrases.digests_of(data.row_digests)
    assert (own == turned.paraphrases.digests_of(turned.row_digests)).all()
    assert own[1].tobytes() == bytes(32) and len(np.unique(own)) == 3
    other = read(tmp_path, [*OTHERS[:2], {"row": "009", "paraphrase": "eeee"}])
    assert (own == other.paraphrases.digests_of(data.row_digests)).tolist() == [True, True, False]


def test_rows_of_equal_content_share_their_paraphrases(tmp_path):
    rows = [ROWS[1], ROWS[1] | {"row": "010"}]
    data = read(tmp_path, [{"row": "008", "paraphrase": "c"}, {"row": "010", "paraphrase": "d"}], rows)
    assert asked(data, [0]) == asked(data, [1]) == [[([3, 27, 2, 0], [0, 0, 1, 1]), ([4, 27, 2, 0], [0, 0, 1, 1])]]


def test_all_rows_with_other_prompts_are_yielded(tmp_path):
    assert sum(len(y) for _, y in read(tmp_path).paraphrases.chunks()) == 3
    x, rows = read(tmp_path).paraphrases.instead_of(*read(tmp_path).gather([1, 1]))
    assert torch.equal(rows, torch.tensor([0, 1])) and x["input_ids"].shape == (2, 4)


@pytest.mark.parametrize(
    ("others", "settings", "line"),
    [
        ([{"row": "070", "paraphrase": "b"}], {}, "for row '070' .1 such., and no row of .*rows.jsonl has it"),
        ([{"prompt": "x", "paraphrase": "b"}], {"id": None}, "for prompt 'x'"),
        ([*OTHERS, {"row": "007", "paraphrase": " "}], {}, "others.jsonl, row 3 has no paraphrase; give each row one"),
        ([*OTHERS, {"paraphrase": "b"}], {}, "others.jsonl, row 3 has no row; give each row one"),
        ([{"row": "007", "words": "b"}], {}, "has no column 'paraphrase'; it has row, words"),
        ([{"paraphrase": "b"}], {}, "has no column 'prompt'; it has paraphrase"),
        (
            [{"row": "008", "paraphrase": "abcdefgh"}],
            {"max_length": 8},
            "with 'abcdefgh' row 1 of .*rows.jsonl has 11 tokens, and max_length=8; shorten this paraphrase",
        ),
    ],
)
def test_bad_paraphrases_are_one_clear_line(tmp_path, others, settings, line):
    with pytest.raises(UsageError, match=line):
        read(tmp_path, others, **settings)


def test_bad_files_are_one_clear_line(tmp_path):
    with pytest.raises(UnreadableError, match=r"none\.jsonl does not exist"):
        read(tmp_path, paraphrases=tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="plain texts have none"):
        read(tmp_path, rows=[{"row": "1", "text": "ab"}])
    (tmp_path / "none.csv").write_text("row,paraphrase\n")
    with pytest.raises(UsageError, match=r"none\.csv has no rows"):
        read(tmp_path, paraphrases=tmp_path / "none.csv")
    messages = [{"role": "assistant", "content": "ab"}]
    with pytest.raises(UsageError, match="row 0 has a paraphrase and no message of a user"):
        read(tmp_path, [{"row": "1", "paraphrase": "b"}], [{"row": "1", "messages": messages}])
