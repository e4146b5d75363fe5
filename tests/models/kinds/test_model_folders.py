"""Folders of adapters and models: PEFT and transformers load what is written, and what does not fit is refused."""

import json
import shutil
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

import neuralyzer as nz
from neuralyzer.errors import WeightsError
from neuralyzer.models import training, weights
from neuralyzer.models.kinds import bases, model_folders
from neuralyzer.models.trained import TrainedModel
from neuralyzer.workspace import digests
from tests.models.language_worlds import made_base, pairs, write

LORA = {"r": 4, "alpha": 8}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return made_base(tmp_path_factory.mktemp(request.param) / "base", request.param, steps=20)


@pytest.fixture(scope="module")
def rows(base, tmp_path_factory):
    path = write(pairs(4), tmp_path_factory.mktemp("rows") / "rows.jsonl")
    return nz.Data.from_texts(path, bases.tokenizer_of(base), subject="author")


@pytest.fixture(scope="module", params=[LORA, None], ids=["adapter", "model"])
def written(request, base, rows, tmp_path_factory):
    """A recipe, a trained module, and the folder that a case would write of it."""
    recipe = nz.Recipe.causal_lm(base, request.param, epochs=1, learning_rate=5e-3)
    module = training.train(recipe, rows)
    place = tmp_path_factory.mktemp("written")
    file = weights.save(module, place / "weights.safetensors")
    return recipe, module, weights.save_folder(module, place / "model", file)


def loaded(folder, base):
    """The model that PEFT or transformers reads from a folder, as their users do."""
    transformers = bases.import_transformers()
    if not (folder / "adapter_config.json").exists():
        return transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    from peft import PeftModel

    named = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == str(base)
    own = transformers.AutoModelForCausalLM.from_pretrained(named, local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for a name that goes
        return PeftModel.from_pretrained(own, folder).eval()


def test_other_libraries_load_what_is_written(base, rows, written):
    _, module, folder = written
    x, _ = rows.gather(np.arange(4))
    inputs = {name: x[name] for name in ("input_ids", "attention_mask")}
    theirs, before = (model(**inputs).logits.detach() for model in (loaded(folder, base), bases.loaded(str(base))))
    torch.testing.assert_close(theirs, module.model(**inputs).logits, rtol=1e-4, atol=1e-5)
    assert float((theirs - before).abs().max()) > 0.01


def test_the_file_in_the_folder_is_the_one_that_is_certified(written):
    recipe, module, folder = written
    assert digests.of_file(folder / module.file_name) == weights.digest(module)
    for path in (folder, folder / module.file_name):
        again = weights.load_into(recipe.module(7), path)
        assert weights.digest(again) == weights.digest(module)


def test_what_peft_and_transformers_write_is_read(base, rows, written, tmp_path):
    recipe, module, folder = written
    loaded(folder, base).save_pretrained(tmp_path / "theirs")
    again = TrainedModel.load(recipe, tmp_path / "theirs", rows)
    assert again.digest == weights.digest(module)


# Bad input


def refused(recipe, folder, line):
    with pytest.raises(WeightsError, match=line):
        weights.load_into(recipe.module(), folder)


@pytest.fixture
def copied(written, tmp_path):
    """A copy of the folder that a test spoils, and a function that changes its configuration."""
    recipe, module, folder = written
    own = shutil.copytree(folder, tmp_path / "copied")
    name = "adapter_config.json" if module.file_name == model_folders.ADAPTER else "config.json"

    def change(**values):
        (own / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))

    return recipe, module, own, change


def test_pickles_and_damaged_files(copied):
    recipe, module, folder, _ = copied
    path = folder / module.file_name
    path.write_bytes(path.read_bytes()[:100])
    refused(recipe, folder, "is not a whole safetensors file")
    path.rename(folder / ("adapter_model.bin" if "adapter" in path.name else "pytorch_model.bin"))
    refused(recipe, folder, "model.bin is a pickle, which can run code")


def test_a_model_in_place_of_an_adapter_and_the_other_way_round(base, copied, tmp_path):
    recipe, module, folder, _ = copied
    if module.file_name == model_folders.ADAPTER:
        loaded(folder, base).merge_and_unload().save_pretrained(tmp_path / "merged")
        refused(recipe, tmp_path / "merged", "is a whole model, as after merging; save the adapter alone")
        refused(nz.Recipe.causal_lm(base, None), folder, "is an adapter, and the recipe trains all weights")
    (tmp_path / "empty").mkdir()
    refused(recipe, tmp_path / "empty", "is no adapter: no adapter_config.json|is no model: it has no config.json")


def test_another_base_rank_or_scale_of_an_adapter(base, copied, tmp_path):
    recipe, module, folder, change = copied
    if module.file_name == model_folders.MODEL:
        pytest.skip("of adapters alone")
    other = made_base(tmp_path / "other", "llama", steps=1)
    for named in (other, "hub/another-base"):
        change(base_model_name_or_path=str(named))
        refused(recipe, folder, f"is an adapter for {named}, and the recipe's base is {base}; train it on that")
    change(base_model_name_or_path=f"hub/{base.name}")
    weights.load_into(recipe.module(), folder)
    for key, value, line in (
        ("r", 8, "with r=8; the recipe's has 4"), ("lora_alpha", 16, "with lora_alpha=16; the recipe's has 8"),
        ("use_rslora", True, "with use_rslora=True; the recipe's has False"),
        ("peft_type", "LOHA", "with peft_type='LOHA'; the recipe's has 'LORA'"),
    ):  # fmt: skip
        change(**{key: value})
        refused(recipe, folder, line)
    change()
    path = folder / module.file_name
    tensors = safetensors.torch.load_file(path)
    first = min(tensors)
    safetensors.torch.save_file(tensors | {first: torch.zeros(9, 9)}, path)
    refused(recipe, folder, r"is no adapter of this recipe: .* is \(9, 9\), not \(")


def test_a_resized_vocabulary(base, copied, tmp_path):
    recipe, module, folder, _ = copied
    model = loaded(folder, base)
    whole = module.file_name == model_folders.MODEL
    (model if whole else model.base_model.model).resize_token_embeddings(410)
    model.save_pretrained(tmp_path / "resized", **({} if whole else {"save_embedding_layers": True}))
    line = "has a vocabulary of 410 tokens and the base 400" if whole else "as after resizing the vocabulary"
    refused(recipe, tmp_path / "resized", line)
