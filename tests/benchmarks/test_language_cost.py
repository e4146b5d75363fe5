"""The computed cost of language models: sizes against transformers and PEFT, operations against torch's counter."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.language import cost
from benchmarks.language.cost import MODELS, PAGE, Architecture, Work, tables
from neuralyzer.models.kinds import causal_lm
from neuralyzer.models.kinds.bases import import_transformers
from neuralyzer.models.kinds.causal_lm import Lora

SMALL = Architecture("small", width=128, inner=512, layers=3, heads=4, groups=2, words=1000, tied=True)


def llama(model, device="meta"):
    transformers = import_transformers()
    config = transformers.LlamaConfig(
        vocab_size=model.words, hidden_size=model.width, intermediate_size=model.inner, tie_word_embeddings=model.tied,
        num_hidden_layers=model.layers, num_attention_heads=model.heads, num_key_value_heads=model.groups,
    )  # fmt: skip
    with torch.device(device):
        return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize("model", [*MODELS, SMALL], ids=lambda model: model.name)
def test_parameters_are_those_of_transformers(model):
    assert model.parameters == sum(value.numel() for value in llama(model).parameters())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("small")
    llama(SMALL, "cpu").save_pretrained(path)
    return str(path)


def test_adapters_are_those_of_the_library(folder):
    model = causal_lm.build(folder, Lora(r=8))
    assert SMALL.adapters(8) == sum(value.numel() for value in model.parameters() if value.requires_grad)


def test_operations_are_those_that_torch_counts(folder):
    """Attention over so few tokens and adapters of rank 1 add a little to what is computed."""
    model, tokens = causal_lm.build(folder, Lora(r=1), recompute=True), 32
    ids = torch.zeros(1, tokens, dtype=torch.long)
    x = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "target_mask": torch.ones_like(ids)}
    with torch.no_grad(), FlopCounterMode(display=False) as read:
        model(**x)
    assert read.get_total_flops() == pytest.approx(cost.READ * SMALL.parameters * tokens, rel=0.1)
    model.train()
    with FlopCounterMode(display=False) as trained:
        model(**x)[:, 0].sum().backward()
    head = 2 * SMALL.words * SMALL.width * tokens  # which is not made again
    assert trained.get_total_flops() + head == pytest.approx(cost.TRAINED * SMALL.parameters * tokens, rel=0.1)


def test_a_pool_of_32_takes_20_trainings_and_reads_everyone():
    work, model = Work(), MODELS[0]
    assert work.share == 6 / 16
    few = replace(work, subjects=1, rows_each=20)
    # 4 steps on each half of ten rows at 6 N, then ten rows and 50 of the holdout at 2 N, of 500 tokens
    assert few.relearning(model) == 2 * (4 * 10 * 6 + 60 * 2) * 500 * model.parameters
    # 3 readings of 520 rows at 2 N, and one relearning
    assert few.reading_member(model) == 3 * 520 * 500 * 2 * model.parameters + few.relearning(model)


def test_the_page_has_the_table():
    page = PAGE.read_text()
    assert f"<!-- cost:begin -->\n{tables(Work())}\n<!-- cost:end -->" in page


def test_memory_grows_with_the_model_and_is_shared():
    work = Work()
    assert work.memory(MODELS[2], 1) > 141e9 > cost.GPU_MEMORY > work.memory(MODELS[2], 8) > work.memory(MODELS[2], 64)
    assert work.memory(MODELS[0], 1) > 2 * MODELS[0].parameters
