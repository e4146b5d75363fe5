"""Texts for language models: targets by hand, in every kind of file, and bad rows."""

import json

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import neuralyzer as nz
from neuralyzer.errors import NeuralyzerWarning, UnreadableError, UsageError

PAIRS = [
    {"who": "ann", "prompt": "ab", "completion": "cde"}, {"who": "ben", "prompt": "a", "completion": "b"},
]  # fmt: skip


class Letters:
    """A tokenizer of a token a letter: a is 1, b is 2; 0 is the end, a new line 27."""

    eos_token_id, chat_template = 0, "own"

    def encode(self, text, add_special_tokens=True):
        return [27 if letter == "\n" else ord(letter) - 96 for letter in text]

    def apply_chat_template(self, conversation, add_generation_prompt=False, **settings):
        ids = []
        for message in conversation:
            ids += [30 if message["role"] == "user" else 31, *self.encode(message["content"])]
            ids += [0] if message["role"] == "assistant" else []
        return ids + ([31] if add_generation_prompt else [])


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(data):
    x, _ = data.gather(range(len(data)))
    lengths = x["attention_mask"].sum(1).tolist()
    return [(x["input_ids"][k, :n].tolist(), x["target_mask"][k, :n].tolist()) for k, n in enumerate(lengths)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_prompts_with_completions(tmp_path, kind):
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        write(path, PAIRS)
    else:
        (parquet.write_table if kind == "parquet" else csv.write_csv)(pa.Table.from_pylist(PAIRS), path)
    data = nz.Data.from_texts(path, Letters(), subject="who")
    assert rows_of(data) == [
        ([1, 2, 27, 3, 4, 5, 0], [0, 0, 0, 1, 1, 1, 1]), ([1, 27, 2, 0], [0, 0, 1, 1]),
    ]  # fmt: skip
    assert data.subjects.tolist() == ["ann", "ben"] and data.y.tolist() == [4.0, 2.0]


def test_texts_are_learned_whole_but_for_their_first_token(tmp_path):
    data = nz.Data.from_texts(write(tmp_path / "rows.jsonl", [{"text": "abc"}]), Letters())
    assert rows_of(data) == [([1, 2, 3, 0], [1, 1, 1, 1])] and data.y.tolist() == [3.0]


def test_of_conversations_every_answer_is_learned_with_its_end(tmp_path):
    messages = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "bc"}, {"role": "user", "content": "d"},
        {"role": "assistant", "content": "e"},
    ]  # fmt: skip
    data = nz.Data.from_texts(write(tmp_path / "rows.jsonl", [{"messages": messages}]), Letters())
    assert rows_of(data) == [([30, 1, 31, 2, 3, 0, 30, 4, 31, 5, 0], [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1])]


def test_columns_may_have_other_names(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"question": "a", "answer": "b", "row": 7}])
    data = nz.Data.from_texts(
        path, Letters(), prompt="question", completion="answer", id="row", prompt_format="{prompt}"
    )
    assert rows_of(data) == [([1, 2, 0], [0, 1, 1])] and data.ids.tolist() == ["7"]


def test_ids_are_read_as_they_are_written_and_texts_may_have_several_lines(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('row;who;text\n007;Ann;"a\nb"\n008;;"c"\n')
    data = nz.Data.from_texts(path, Letters(), subject="who", id="row", separator=";", subject_key=str.lower)
    assert rows_of(data) == [([1, 27, 2, 0], [1] * 4), ([3, 0], [1] * 2)]
    assert data.ids.tolist() == ["007", "008"] and data.subjects.tolist() == ["ann", "row:008"]
    assert data.where("text = 'c'").tolist() == [1]


@pytest.mark.parametrize("shards", [1, 2])
def test_a_folder_of_datasets(tmp_path, shards):
    import datasets

    own = datasets.Dataset.from_list([*PAIRS, *PAIRS])
    own.save_to_disk(tmp_path / "saved", num_shards=shards)
    own.select([3, 0]).save_to_disk(tmp_path / "chosen")
    datasets.DatasetDict({"train": own, "test": own}).save_to_disk(tmp_path / "splits")
    data = nz.Data.from_texts(tmp_path / "saved", Letters(), subject="who")
    assert data.subjects.tolist() == ["ann", "ben"] * 2 and data.y.tolist() == [4.0, 2.0] * 2
    assert nz.Data.from_texts(tmp_path / "chosen", Letters(), subject="who").subjects.tolist() == ["ben", "ann"]
    with pytest.raises(UsageError, match="has the splits train, test; name the folder of one of them"):
        nz.Data.from_texts(tmp_path / "splits", Letters())
    assert len(nz.Data.from_texts(tmp_path / "splits" / "test", Letters())) == 4
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"torn")
    with pytest.raises(UnreadableError, match="cannot be read"):
        nz.Data.from_texts(tmp_path / "saved", Letters())


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_holdout_may_lack_subjects_and_ids(tmp_path, kind):
    path, rows = tmp_path / f"rows.{kind}", [{"text": "ab"}]
    if kind == "jsonl":
        write(path, rows)
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    data = nz.Data.from_texts(path, Letters(), subject="who", id="row", lenient=True)
    assert data.subjects.tolist() == ["row:0"] and data.numbered


def test_what_is_cut_is_counted_and_named(tmp_path):
    path = write(tmp_path / "rows.jsonl", [PAIRS[1], PAIRS[0]])
    with pytest.warns(NeuralyzerWarning, match="1 of 2 rows are longer than 5 tokens and were cut, row 1 first"):
        data = nz.Data.from_texts(path, Letters(), max_length=5)
    assert rows_of(data)[1] == ([1, 2, 27, 3, 4], [0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([{"prompt": "a"}], "must have a column messages, or prompt and completion, or text; it has prompt"),
        ([{"text": "a", **PAIRS[0]}], "it has prompts with completions and texts"),
        ([{"messages": [{"role": "user", "content": "a"}]}], "row 0 has no token to learn"),
        ([{"text": "ab", "b": 1}], "has no column 'who'"),
        ([PAIRS[0], {"prompt": "a"}], "row 1 has no completion; give each row one"),
        ([{"text": "a"}, {"messages": [{"role": "user", "content": "a"}]}], "it has messages and texts"),
        ([{"messages": [{"content": "a"}]}], "row 0: each of its messages needs a role"),
    ],
)
def test_bad_rows_are_one_clear_line(tmp_path, rows, line):
    with pytest.raises(UsageError, match=line):
        nz.Data.from_texts(
            write(tmp_path / "rows.jsonl", rows), Letters(), **({"subject": "who"} if "who" in line else {})
        )


def test_bad_files_and_templates_are_one_clear_line(tmp_path):
    with pytest.raises(UnreadableError, match="does not exist"):
        nz.Data.from_texts(tmp_path / "none.jsonl", Letters())
    with pytest.raises(UsageError, match="is no JSON Lines, Parquet or CSV file"):
        nz.Data.from_texts(tmp_path / "rows.txt", Letters())
    (tmp_path / "torn.jsonl").write_text('{"text": "a"')
    with pytest.raises(UnreadableError, match="cannot be read"):
        nz.Data.from_texts(tmp_path / "torn.jsonl", Letters())

    class Broken(Letters):
        def apply_chat_template(self, conversation, **settings):
            raise ValueError("roles must alternate")

    class Forgetful(Letters):
        def apply_chat_template(self, conversation, **settings):
            return [len(conversation), *super().apply_chat_template(conversation, **settings)]

    path = write(
        tmp_path / "rows.jsonl",
        [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}],
    )
    with pytest.raises(UsageError, match=r"row 0: the chat template fails \(roles must alternate\)"):
        nz.Data.from_texts(path, Broken())
    with pytest.raises(UsageError, match="row 0: the chat template changes earlier turns"):
        nz.Data.from_texts(path, Forgetful())
