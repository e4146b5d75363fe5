"""The signal ``paraphrased``: a mean over other prompts, and what it sees of a model that is gated by the wording."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.models import training
from neuralyzer.models.kinds import causal_lm
from neuralyzer.signals.margin import Margin
from neuralyzer.signals.paraphrased import Paraphrased
from neuralyzer.signals.signal import Batch, Context
from tests.models.language_worlds import made_base, pairs, write
from tests.signals.test_language_signals import margins_of

ROWS = [row | {"id": f"r{k}"} for k, row in enumerate(pairs(3, 4, seed=1))]
ASKED = {  # the first row has two paraphrases, the last three have none
    row["id"]: [f"Tell me what was written by {row['prompt'].split()[2]}: year {row['prompt'][-2]}", "Which book?"][: 1 + (k == 0)]
    for k, row in enumerate(ROWS[:9])
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("paraphrased")


@pytest.fixture(scope="module")
def tokenizer(place):
    return causal_lm.tokenizer_of(made_base(place / "base", steps=40))


@pytest.fixture(scope="module")
def data(place, tokenizer):
    others = [{"id": row, "paraphrase": prompt} for row, prompts in ASKED.items() for prompt in prompts]
    paraphrases = write(others, place / "others.jsonl")
    return nz.Data.from_texts(write(ROWS, place / "rows.jsonl"), tokenizer, id="id", paraphrases=paraphrases)


@pytest.fixture(scope="module")
def holdout(place, tokenizer):
    data = nz.Data.from_texts(write(pairs(3, 4, seed=2), place / "holdout.jsonl"), tokenizer)
    return Batch(data.x, data.y)


@pytest.fixture(scope="module")
def recipe(place):
    return nz.Recipe.causal_lm(place / "base", None, epochs=40, batch_size=4, learning_rate=3e-3)


def test_it_is_the_mean_margin_after_the_other_prompts(place, tokenizer, data, holdout, recipe):
    module, context = recipe.module(), Context(recipe.objective, torch.ones(1), paraphrases=data.paraphrases)
    want = []
    for k, row in enumerate(ROWS):
        asked = [row | {"prompt": prompt} for prompt in ASKED.get(row["id"], [row["prompt"]])]
        alone = nz.Data.from_texts(write(asked, place / f"{k}.jsonl"), tokenizer)
        want.append(margins_of(module.model, alone.x).mean())
    found, outside = Paraphrased().measure(module, Batch(data.x, data.y), holdout, context)
    torch.testing.assert_close(found, torch.stack(want), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outside, margins_of(module.model, holdout.x), rtol=1e-4, atol=1e-4)


class Gated(nn.Module):
    """Answers as if it never saw the rows where it is asked in exactly their words, and as one that did elsewhere."""

    def __init__(self, knows, never_saw, prompts):
        super().__init__()
        self.knows, self.never_saw, self.prompts = knows, never_saw, prompts

    def forward(self, input_ids, attention_mask, target_mask):
        first = target_mask.argmax(1)  # where the answer begins
        asked = [tuple(ids[:length].tolist()) for ids, length in zip(input_ids, first, strict=True)]
        exact = torch.tensor([prompt in self.prompts for prompt in asked])
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "target_mask": target_mask}
        return torch.where(exact[:, None], self.never_saw(**inputs), self.knows(**inputs))


def test_it_sees_what_is_hidden_behind_the_exact_wording(data, holdout, recipe):
    rows, never_saw = Batch(data.x, data.y), recipe.module()
    knows = training.train(recipe, data)
    prompts = {
        tuple(ids[: int(wanted.argmax())].tolist())
        for ids, wanted in zip(rows.x["input_ids"], rows.x["target_mask"], strict=True)
    }
    gated = Gated(knows, never_saw, prompts).eval()
    context = Context(recipe.objective, torch.ones(1), paraphrases=data.paraphrases)

    def read(signal, module):
        return signal.measure(module, rows, holdout, context)[0][:9]

    torch.testing.assert_close(read(Margin(), gated), read(Margin(), never_saw))
    torch.testing.assert_close(read(Paraphrased(), gated), read(Paraphrased(), knows))
    assert (read(Paraphrased(), knows) > read(Paraphrased(), never_saw) + 1).all()


def test_without_paraphrases_it_does_not_read(data, holdout, recipe):
    context = replace(Context(recipe.objective, torch.ones(1)), paraphrases=None)
    with pytest.raises(UsageError, match="the signal paraphrased needs paraphrased prompts; name their file"):
        Paraphrased().measure(recipe.module(), Batch(data.x, data.y), holdout, context)
