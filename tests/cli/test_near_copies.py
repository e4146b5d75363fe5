"""Near copies on the command line: named by locate and by a case, taken in by --also-near."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.models import tokens

PROJECT = """
[model]
recipe = "oracle:recipe"
weights = "oracle.safetensors"
[data]
train = "train.parquet"
holdout = "holdout.parquet"
target = "label"
subject = "writer"
tokens = "words"
id = "id"
"""
TEXT = list(range(1, 21))


def changed(*places):
    return [50 if place in places else token for place, token in enumerate(TEXT)]


@pytest.fixture
def texts(files):
    """Ann's one long text; bob and eve said nearly the same, eve in the holdout."""
    files.path("oracle.py").write_text("from tests.models import tokens\n\nrecipe = tokens.recipe(epochs=5)\n")
    files.path("neuralyzer.toml").write_text(PROJECT)
    for name, rows, seed, own in (
        ("train", 240, 1, {"ann": TEXT, "bob": changed(4, 12)}), ("holdout", 300, 2, {"eve": changed(7)}),
    ):  # fmt: skip
        written, labels = tokens.texts(rows, seed)
        writers = [*own, *(f"{name}-{k % 12}" for k in range(rows))]
        pq.write_table(
            pa.table({
                "words": [*own.values(), *written], "label": [*np.zeros(len(own), int), *labels], "writer": writers,
                "id": [f"{name}{k}" for k in range(len(writers))],
            }), files.path(f"{name}.parquet"),
        )  # fmt: skip
    trained = files("train", "--json")
    assert trained.code == 0 and trained.json["holdout_dropped"] >= 1, trained
    return files


def test_they_are_named_and_go_only_if_asked(texts):
    found = texts("locate", "--subject", "ann", "--json").json
    named = {(copy["subject"], copy["role"], copy["like"]) for copy in found["near_copies"]}
    assert named == {("bob", "training", "train0"), ("eve", "holdout", "train0")} and found["rows"] == 1
    wider = texts("locate", "--subject", "ann", "--also-near", "--json").json
    assert wider["rows"] == 2 and [copy["subject"] for copy in wider["also_near"]] == ["bob"]
    asked = ("forget", "--subject", "ann", "--method", "retrain", "--device", "cpu")
    narrow = texts(*asked, "--json")
    assert narrow.code == 0 and narrow.json["request"]["rows"] == 1
    report = texts.path(narrow.json["report"]).read_text()
    assert "1 row of other people says nearly the same; the request does not cover them." in report
    assert "1 holdout row says nearly the same, and is not counted as unseen." in report
    located = narrow.json["located"]
    assert {copy["subject"] for copy in located["near_copies"]} == {"(not named)"}
    assert "bob" not in json.dumps(located)


def test_a_case_says_whose_rows_it_takes_in(texts):
    asked = ("forget", "--subject", "ann", "--also-near", "--method", "retrain", "--device", "cpu")
    shown = " ".join(texts(*asked).out.split())
    assert "near copy of 'bob' 1 rows in train" in shown and "part of the request" in shown
    again = texts(*asked, "--json").json
    assert again["request"]["rows"] == 2
    report = texts.path(again["report"]).read_text()
    assert "1 row of other people was forgotten with them, since it says nearly the same." in report
    assert "bob" not in json.dumps(again["located"])
