"""The language demo: its texts, its base, and the whole course as a newcomer runs it."""

import json
import re

import numpy as np
import pytest
import torch

from neuralyzer.data import near_copies
from neuralyzer.demo import assistant, authors
from neuralyzer.models.kinds.bases import tokenizer_of
from neuralyzer.progress import Silent
from tests.demo.test_must_reach import run_demo


def test_texts_are_about_different_authors_and_drawn_by_the_seed():
    parts = assistant.texts(0)
    people = [{one.author for one in part} for part in parts]
    assert [len(part) for part in people] == [16, 24, 200] and len(set.union(*people)) == 240
    assert all(len(part) == 10 * len(names) for part, names in zip(parts, people, strict=True))
    assert assistant.texts(0) == parts and assistant.texts(1) != parts
    for one in parts[0]:
        assert one.author in one.question and not re.search("[<>{}]", one.question + one.answer)
        assert [turn["role"] for turn in one.messages] == ["user", "assistant"]


def test_no_answer_can_be_guessed_from_another():
    """Each answer has several facts that are drawn anew, so that hardly two of 4,000 agree."""
    answers = [one.answer for one in authors.conversations(authors.names(400, 3), 4)]
    assert len(set(answers)) >= 0.99 * len(answers)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assistant, "STEPS", 4)
        return assistant.make_base(tmp_path_factory.mktemp("demo") / "base-0", Silent(), 0)


def test_the_base_is_a_folder_of_transformers_and_is_made_once(base):
    tokenizer = tokenizer_of(base)
    config = json.loads((base / "config.json").read_text())
    assert config["model_type"] == "llama" and config["vocab_size"] == len(tokenizer) == 512
    before = (base / "model.safetensors").stat().st_mtime_ns
    state = torch.get_rng_state()
    assert assistant.make_base(base, Silent(), 0) == base
    assert (base / "model.safetensors").stat().st_mtime_ns == before and torch.equal(state, torch.get_rng_state())


def test_rows_are_whole_conversations_without_near_copies(base, tmp_path):
    data, holdout = assistant.data(tmp_path, base, 0)
    assert (len(data), len(holdout)) == (160, 240) and len(np.unique(data.subjects)) == 16
    assert not set(data.subjects) & set(holdout.subjects)
    assert int(data.x["attention_mask"].sum(1).max()) < assistant.LONGEST, "nothing is cut"
    assert not list(near_copies.pairs(holdout, data))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_language_demo_reaches_what_it_must(tmp_path):
    result, seconds, peak = run_demo(tmp_path / "demo", "--language")
    print(f"language demo: {seconds:.0f} s, {peak / 1e9:.2f} GB, {result['unlearning']['method']}")
    assert peak < 2e9
    assert result["audit"]["verdict"] == "not forgotten" and result["audit"]["detectable"] <= 1
    assert result["verification"]["verdict"] == "forgotten"
    counting = [row for row in result["verification"]["families"] if row["counts"]]
    assert {row["family"] for row in counting} >= {"retraining", "attack", "relearning"}
    for row in counting:
        assert row["original"] > 0.5 and -0.6 <= row["unlearned"] <= 0.6
    answers = result["answers"]
    assert answers["words"] and answers["never_saw"] == "a model really retrained without the rows"
    about = {"subject": [], "others": []}
    for row in answers["rows"]:
        about[row["about"]].append(row["overlap"])
    assert all(row["original"] > 0.9 for rows in about.values() for row in rows), "it answers word by word"
    assert all(row["unlearned"] > 0.9 for row in about["others"])
    mean = {name: np.mean([row[name] for row in about["subject"]]) for name in ("unlearned", "never_saw")}
    assert max(mean.values()) < 0.75
    folder = tmp_path / "demo" / "cases" / result["case"]
    assert "Sample answers" in (folder / "report.html").read_text()
