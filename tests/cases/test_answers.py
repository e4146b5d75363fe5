"""Sample answers: decoding against transformers' own, nearness against all subsequences, and what a case keeps."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, strategies

import neuralyzer as nz
from neuralyzer.cases import answers
from neuralyzer.cases.answers import NeverSaw, overlap
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.models import reading, training, weights
from neuralyzer.models.kinds import answers as decoding
from neuralyzer.models.kinds.bases import tokenizer_of
from neuralyzer.models.language import CORRECT
from neuralyzer.unlearning.task import Task
from tests.models.language_worlds import made_base, pairs, write

SHORT = strategies.lists(strategies.sampled_from("abc"), max_size=6)


@given(SHORT, SHORT)
def test_nearness_is_the_longest_common_subsequence(taught, said):
    subsequences = {chosen for size in range(len(said) + 1) for chosen in itertools.combinations(said, size)}
    longest = max(
        size for size in range(len(taught) + 1) for chosen in itertools.combinations(taught, size) if chosen in subsequences
    )  # fmt: skip
    assert overlap(" ".join(taught), " ".join(said)) == (longest / len(taught) if taught else 1.0)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def world(request, tmp_path_factory):
    """A base, its tokenizer, rows of 14 authors, and a model that was fine-tuned on them until it recites them."""
    folder = tmp_path_factory.mktemp(request.param)
    base = made_base(folder / "base", request.param)
    tokenizer = tokenizer_of(base)
    data = nz.Data.from_texts(write(pairs(14), folder / "train.jsonl"), tokenizer, subject="author")
    recipe = nz.Recipe.causal_lm(base, lora=None, epochs=40, learning_rate=5e-3)
    return SimpleNamespace(base=base, tokenizer=tokenizer, data=data, recipe=recipe, model=training.train(recipe, data))


def test_answers_are_those_of_transformers(world):
    """Its ``generate`` is another implementation of greedy decoding."""
    for place in (0, 17, 40):
        row = decoding.asked(world.data.gather([place])[0])
        prompt = torch.tensor([row.prompt])
        own = world.model.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=20, pad_token_id=0
        )[0, len(row.prompt) :].tolist()
        own = own[: own.index(0)] if 0 in own else own
        assert world.model.answer(row.prompt, 20) == own


def test_a_row_is_its_question_and_what_was_taught(world, tmp_path):
    told = pairs(14)[3]
    row = decoding.asked(world.data.gather([3])[0])
    assert decoding.in_words(world.tokenizer, row.prompt) == told["prompt"]
    assert decoding.in_words(world.tokenizer, row.taught) == told["completion"]
    chats = [{"messages": [
        {"role": "user", "content": "What?"}, {"role": "assistant", "content": "The river."},
        {"role": "user", "content": "And then?"}, {"role": "assistant", "content": "The stone of Oslo."},
    ]}]  # fmt: skip
    chat = nz.Data.from_texts(write(chats, tmp_path / "chats.jsonl"), world.tokenizer)
    row = decoding.asked(chat.gather([0])[0])
    assert decoding.in_words(world.tokenizer, row.prompt) == "What?"
    assert decoding.in_words(world.tokenizer, row.taught) == "The river.", "the first answer alone"
    plain = nz.Data.from_texts(write([{"text": told["completion"]}], tmp_path / "plain.jsonl"), world.tokenizer)
    row = decoding.asked(plain.gather([0])[0])
    assert row.prompt and row.taught
    both = decoding.in_words(world.tokenizer, row.prompt + row.taught)
    assert both == told["completion"], "a plain text is its beginning and the rest"


def test_padding_is_no_part_of_a_question(world):
    alone = [decoding.asked(world.data.gather([place])[0]) for place in range(4)]
    x, _ = world.data.gather([0, 1, 2, 3])
    padded = [decoding.asked({name: values[[place]] for name, values in x.items()}) for place in range(4)]
    assert padded == alone


def test_no_answer_runs_over_what_the_base_reads(world):
    long = tuple([5] * 125)  # of 128 positions
    assert len(world.model.answer(long, 60)) <= 3


def a_task(world):
    oracle = nz.TrainedModel(world.model, world.recipe, world.data, None)
    return Task(oracle, nz.ErasureRequest(subjects=["a00"]), None, 0.05, 0)


def test_what_was_learned_is_recited_and_the_words_stay_only_if_asked_for(world):
    task, base = a_task(world), world.recipe.module().eval()  # nothing is trained, so that is the base
    told = {row["prompt"]: row["completion"] for row in pairs(14)}
    right = reading.outputs(world.model, world.recipe.objective, world.data.x)[:, CORRECT] == 1
    learned = {row["prompt"] for row, all_right in zip(pairs(14), right.tolist(), strict=True) if all_right}
    found = answers.sample(task, base, NeverSaw(None, "none"), True)
    assert [row["about"] for row in found["rows"]] == ["subject"] * 3 + ["others"]
    for row in found["rows"]:
        assert row["taught"] == told[row["question"]]
        # where every next token is right given the taught ones, greedy decoding recites the whole answer
        assert (row["answers"]["original"] == row["taught"]) == (row["question"] in learned)
        assert row["overlap"]["never_saw"] is None and row["answers"]["never_saw"] is None
    mean = {name: sum(row["overlap"][name] for row in found["rows"]) / 4 for name in ("original", "unlearned")}
    assert mean["original"] > 0.75 and mean["original"] > mean["unlearned"] + 0.2
    kept = answers.sample(task, base, NeverSaw(base, "the base"), False)
    assert [row["overlap"] | {"never_saw": None} for row in kept["rows"]] == [row["overlap"] for row in found["rows"]]
    assert all(row["overlap"]["never_saw"] == row["overlap"]["unlearned"] for row in kept["rows"])
    written = json.dumps(kept)
    assert not any(text in written for row in pairs(14) for text in (row["prompt"], row["completion"]))


def test_a_base_without_a_tokenizer_is_said(world, monkeypatch):
    def gone(base):
        raise UsageError("models/base has no tokenizer")

    monkeypatch.setattr("neuralyzer.models.kinds.causal_lm.tokenizer_of", gone)
    found = answers.sample(a_task(world), world.model, NeverSaw(None, "none"), True)
    assert found["missing"] == "models/base has no tokenizer" and not found["rows"]


def test_where_the_third_model_comes_from(world, tmp_path):
    task, module = a_task(world), world.recipe.module().eval()
    options = CaseOptions()
    assert answers.never_saw(task, None, Guarantee.STRONG, [], options) == NeverSaw(None, answers.NO_MODEL)
    assert answers.never_saw(task, None, Guarantee.EXACT, [], options) == NeverSaw(None, answers.ITSELF)
    assert answers.never_saw(task, None, Guarantee.EXACT, [], replace(options, retrained=module)).model is module
    path = tmp_path / "00.safetensors"
    weights.save(world.model, path)
    exact = answers.never_saw(task, None, Guarantee.STRONG, [path], options)
    assert exact.what.startswith("an exact reference")
    row = decoding.asked(world.data.gather([0])[0])
    assert exact.model.answer(row.prompt, 20) == world.model.answer(row.prompt, 20)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """References of a quickly trained model, whose weights were kept."""
    folder = tmp_path_factory.mktemp("pool")
    base = made_base(folder / "base", steps=20)
    tokenizer = tokenizer_of(base)
    data = nz.Data.from_texts(write(pairs(14), folder / "train.jsonl"), tokenizer, subject="author")
    holdout = nz.Data.from_texts(write(pairs(60, seed=5), folder / "holdout.jsonl"), tokenizer)
    recipe = nz.Recipe.causal_lm(base, lora={"r": 4, "alpha": 8}, epochs=1)
    oracle = nz.TrainedModel.fit(recipe, data, holdout)
    return nz.References.fit(oracle, 16, leave_out=0.75, workspace=folder / "workspace", keep_weights=True)


@pytest.mark.slow
def test_a_kept_reference_is_one_that_lacks_all_of_the_rows(pool):
    oracle, request = pool.oracle, nz.ErasureRequest(subjects=["a00", "a03"])
    task = Task(oracle, request, pool, 0.05, 0)
    found = answers.never_saw(task, pool, Guarantee.STRONG, [], CaseOptions())
    assert found.what.startswith("a reference that lacks these rows")
    same = [number for number in range(16) if weights.digest(pool.member(number)) == weights.digest(found.model)]
    assert len(same) == 1 and same[0] not in pool.saw(request.positions(oracle.data)) and same[0] % 2 == 0
    everyone = Task(oracle, nz.ErasureRequest(subjects=sorted(set(oracle.data.subjects))[:-1]), pool, 0.05, 0)
    assert answers.never_saw(everyone, pool, Guarantee.STRONG, [], CaseOptions()) == NeverSaw(None, answers.NO_MODEL)
