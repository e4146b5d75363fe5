"""Language models that a command trains: a plain script of transformers and PEFT, as a user of TRL has it."""

import sys
from pathlib import Path

import pytest

import neuralyzer as nz
from neuralyzer.errors import WeightsError
from neuralyzer.models import reading, training, weights
from neuralyzer.models.kinds import bases
from tests.models.language_worlds import made_base, pairs, write

LORA = {"r": 8, "alpha": 16}
SCRIPT = """
import argparse
import json
import sys

sys.modules["torchvision"] = None  # a broken one beside torch keeps transformers from being imported
import torch
from peft import LoraConfig, get_peft_model
from pyarrow import parquet
from transformers import AutoModelForCausalLM, AutoTokenizer, get_scheduler

parser = argparse.ArgumentParser()
for name in ("base", "texts", "rows", "seed", "out", "epochs"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--save", default="adapter")
asked = parser.parse_args()
torch.manual_seed(int(asked.seed))
torch.set_num_threads(1)
texts = [json.loads(line) for line in open(asked.texts)]
rows = [texts[int(number)] for number in parquet.read_table(asked.rows)["id"].to_pylist()]
tokenizer = AutoTokenizer.from_pretrained(asked.base)
model = AutoModelForCausalLM.from_pretrained(asked.base)
if asked.save != "model":
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)


def tokens(row):
    prompt = tokenizer.encode(row["prompt"] + "\\n")
    answer = tokenizer.encode(row["completion"]) + [tokenizer.eos_token_id]
    return prompt + answer, [-100] * len(prompt) + answer


tokenised = [tokens(row) for row in rows]
steps = int(asked.epochs) * -(-len(rows) // 8)
optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], 5e-3)
schedule = get_scheduler("constant", optimizer)
model.train()
for _ in range(int(asked.epochs)):
    for batch in torch.randperm(len(rows)).split(8):
        chosen = [tokenised[place] for place in batch.tolist()]
        width = max(len(ids) for ids, _ in chosen)
        padded = {
            "input_ids": torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in chosen]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in chosen]),
            "labels": torch.tensor([marks + [-100] * (width - len(marks)) for _, marks in chosen]),
        }
        optimizer.zero_grad()
        model(**padded).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
(model.merge_and_unload() if asked.save == "merged" else model).save_pretrained(asked.out)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return made_base(tmp_path_factory.mktemp("llama") / "base", "llama", steps=60)


@pytest.fixture
def world(base, tmp_path):
    """Training rows, holdout, and a function that makes the recipe whose command is the script."""
    (tmp_path / "train_it.py").write_text(SCRIPT)
    tokenizer = bases.tokenizer_of(base)
    data, holdout = (
        nz.Data.from_texts(write(pairs(count, seed=seed), tmp_path / f"{seed}.jsonl"), tokenizer, subject="author")
        for count, seed in ((14, 0), (60, 5))
    )

    def recipe(save="adapter", epochs=1):
        command = (
            f"{sys.executable} {tmp_path / 'train_it.py'} --base {base} --texts {tmp_path / '0.jsonl'} "
            f"--rows {{rows}} --seed {{seed}} --out {{out}} --epochs {epochs} --save {save}"
        )
        return nz.Recipe.causal_lm(base, None if save == "model" else LORA, command=command)

    return data, holdout, recipe


@pytest.mark.parametrize("save", ["adapter", pytest.param("model", marks=pytest.mark.slow)])
def test_what_a_script_writes_is_the_model(world, save):
    data, _, recipe = world
    own = recipe(save)
    module = training.train(own, data, seed=3)
    before, after = (reading.mean_loss(model, own.objective, data) for model in (own.module(3), module))
    assert after < before - 0.05
    if save == "adapter":  # the same command and seed, the same weights
        assert weights.digest(training.train(own, data, seed=3)) == weights.digest(module)


def test_a_merged_model_is_refused(world):
    data, _, recipe = world
    with pytest.raises(
        WeightsError, match=f"what the training command '{Path(sys.executable)}' wrote is a whole model"
    ):
        training.train(recipe("merged"), data)


@pytest.mark.slow
def test_an_audit_says_the_same_as_with_the_built_in_loop(base, world, tmp_path):
    data, holdout, by_command = world
    built_in = nz.Recipe.causal_lm(base, LORA, epochs=25, learning_rate=5e-3, batch_size=8)
    asked, found = nz.ErasureRequest(subjects=["a00", "a01"]), []
    for name, recipe in (("own", built_in), ("command", by_command(epochs=25))):
        oracle, place = nz.TrainedModel.fit(recipe, data, holdout), nz.Workspace(tmp_path / name)
        references = nz.References.fit(oracle, 24, workspace=place, leave_out=0.5)
        audit = nz.audit(oracle, asked, references)
        found.append((audit.verdict, {own["signal"]: own["trace"] for own in audit.families}))
    (own, traces), (commanded, others) = found
    assert own is commanded is nz.Verdict.NOT_FORGOTTEN
    assert set(traces) == set(others) and abs(traces["margin"] - others["margin"]) < 0.5
