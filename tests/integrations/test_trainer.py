"""The callback for transformers' Trainer: what it records is what was trained on, shuffled and accumulated."""

import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.integrations.trainer import COLUMN, HistoryCallback, with_positions
from neuralyzer.models import weights
from neuralyzer.models.kinds import bases
from neuralyzer.registry.history import History
from tests.models.language_worlds import made_base, pairs, write

LORA = {"r": 4, "alpha": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return made_base(tmp_path_factory.mktemp("llama") / "base", "llama", steps=5)


@pytest.fixture
def world(base, tmp_path):
    """The rows, as this library and as a Trainer reads them."""
    import datasets

    data = nz.Data.from_texts(write(pairs(5), tmp_path / "rows.jsonl"), bases.tokenizer_of(base), subject="author")
    x = {name: values.tolist() for name, values in data.x.items()}
    labels = [
        [token if wanted else -100 for token, wanted in zip(*row, strict=True)]
        for row in zip(x["input_ids"], x["target_mask"], strict=True)
    ]
    columns = {"input_ids": x["input_ids"], "attention_mask": x["attention_mask"], "labels": labels}
    return data, datasets.Dataset.from_dict(columns)


def trained(base, dataset, callback, lora=True, **settings):
    """The Trainer, and the positions in each batch that it gave to its own training step."""
    transformers = bases.import_transformers()
    from peft import LoraConfig, get_peft_model

    seen = []

    class Watched(transformers.Trainer):
        def training_step(self, model, inputs, *others):
            seen.append(inputs[COLUMN].tolist())
            return super().training_step(model, inputs, *others)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for names that go
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        if lora:
            model = get_peft_model(
                model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
            )
        settings = {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
        } | settings
        arguments = transformers.TrainingArguments(
            output_dir=str(callback._recorder.path.parent / "hf"), use_cpu=True, report_to=[], save_strategy="no",
            remove_unused_columns=False, disable_tqdm=True, logging_strategy="no", learning_rate=1e-2, **settings,
        )  # fmt: skip
        own = Watched(model, arguments, train_dataset=dataset, callbacks=[callback])
        own.train()
    return own, seen


@pytest.mark.parametrize("lora", [True, False], ids=["adapter", "model"])
def test_the_recorded_rows_are_those_that_were_trained_on(base, world, tmp_path, lora):
    data, dataset = world
    callback = HistoryCallback(tmp_path / "run", data, base, every=3)
    own, seen = trained(base, with_positions(dataset), callback, lora)
    history = History.read(tmp_path / "run")
    steps = [batch.tolist() for batch in history.batches_from(0)]
    epochs = (seen[:7], seen[7:])
    accumulated = [
        [row for rows in batches[at : at + 2] for row in rows] for batches in epochs for at in range(0, 7, 2)
    ]
    assert steps == accumulated  # 25 rows: 7 batches an epoch, the last step of which has one
    for epoch in (steps[:4], steps[4:]):
        assert sorted(row for rows in epoch for row in rows) == list(range(25))
    assert steps[0] != list(range(8)) and history.whole and history.base == bases.digest_of(base)
    recipe = nz.Recipe.causal_lm(base, LORA if lora else None)
    assert [checkpoint.step for checkpoint in history.checkpoints] == [0, 3, 6, 8]
    last = weights.load_into(recipe.module(), history.checkpoints[-1].path)
    own.model.save_pretrained(tmp_path / "theirs")
    theirs = weights.load_into(recipe.module(), tmp_path / "theirs")
    assert weights.digest(last) == weights.digest(theirs) == history.weights
    first = safetensors.torch.load_file(history.checkpoints[0].path)
    assert any(not torch.equal(first[name], value) for name, value in weights.state(last).items())
    subject = np.flatnonzero(data.subjects == "a00")
    assert history.earliest(subject) == min(at for at, rows in enumerate(steps) if set(rows) & set(subject.tolist()))


def test_batches_without_positions_are_one_clear_line(base, world, tmp_path):
    data, dataset = world
    numbered = with_positions(dataset)

    def without(rows):
        return {name: torch.tensor([row[name] for row in rows]) for name in dataset.column_names}

    transformers = bases.import_transformers()
    callback = HistoryCallback(tmp_path / "run", data, base)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "hf"), use_cpu=True, report_to=[], max_steps=1, remove_unused_columns=False
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    own = transformers.Trainer(model, arguments, train_dataset=numbered, data_collator=without, callbacks=[callback])
    with pytest.raises(UsageError, match=f"the batch has no {COLUMN}: give the Trainer with_positions"):
        own.train()
    assert not History.read(tmp_path / "run").finished
