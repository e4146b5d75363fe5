"""Adapters that are trained side by side on one base are what each is alone, and are exported alike."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.data import batches
from neuralyzer.errors import UsageError
from neuralyzer.models import training, weights
from neuralyzer.models.kinds import bases, causal_lm, stacked_linear
from neuralyzer.progress import Silent
from neuralyzer.references.training import backends, stacked, stacked_check
from neuralyzer.references.training.backends import Backend
from tests.models.language_worlds import made_base, pairs, write

LORA = {"r": 4, "alpha": 8}
# 17 to 24 rows take three steps of 8; the last batches have 8, 1 and 5 rows
KEPT = [np.arange(24), np.arange(3, 20), np.r_[0:9, 18:30]]
SEEDS = [3, 14, 15]


def without_dropout(folder, **settings):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    still = {key: 0.0 for key in config if key.endswith("pdrop")}  # GPT-2's own are 0.1
    path.write_text(json.dumps(config | still | settings))
    return folder


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return without_dropout(made_base(tmp_path_factory.mktemp(request.param) / "base", request.param, steps=20))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return made_base(tmp_path_factory.mktemp("one") / "base", steps=2)


def rows_of(base, folder):
    """Rows of 15 to 29 tokens."""
    rows = pairs(6)
    for k, row in enumerate(rows):
        row["completion"] += " And so on." * (k % 4)
    return nz.Data.from_texts(write(rows, folder / "rows.jsonl"), causal_lm.tokenizer_of(base), subject="author")


@pytest.fixture
def rows(base, tmp_path):
    return rows_of(base, tmp_path)


def recipe(base, lora=LORA, **settings):
    given = {"epochs": 4, "learning_rate": 5e-3, "schedule": "linear", "warmup": 0.2} | settings
    return nz.Recipe.causal_lm(base, lora, **given)


def doubled(base, monkeypatch, **settings):
    """A recipe on a base in float64; its adapters, which are each model's own, are cast when they were drawn."""
    monkeypatch.setitem(bases.DTYPES, "float64", torch.float64)
    single = recipe(base, dtype="float64", **settings)

    def build():
        module = single.build()
        for value in training.trainable(module):
            value.data = value.data.double()
        return module

    return replace(single, build=build)


def check(own, rows, tolerance):
    """Compare with training alone; the error is a share of the distance that a tensor moved."""
    together = stacked.train_stack(own, rows, KEPT, SEEDS, Silent())
    for module, positions, seed in zip(together, KEPT, SEEDS, strict=True):
        alone, start = training.train(own, rows.select(positions), seed), own.module(seed)
        assert not module.training
        assert weights.state(module).keys() == weights.state(alone).keys()
        for name, value in weights.state(alone).items():
            moved = float((value - weights.state(start)[name]).norm())
            assert moved > 1e-5
            assert float((weights.state(module)[name] - value).norm()) < tolerance * moved, name
    return together


def test_each_member_is_what_it_is_alone(base, rows):
    check(recipe(base), rows, 1e-3)


def test_each_member_is_what_it_is_alone_in_float64(base, rows, monkeypatch):
    check(doubled(base, monkeypatch), rows, 1e-5)  # losses are float32 all the same


@pytest.mark.parametrize("tokens", [1, 90, 400], ids=["a row of each member at once", "a few rows", "all rows"])
def test_portions_change_nothing(llama, tmp_path, monkeypatch, tokens):
    check(doubled(llama, monkeypatch, batch_tokens=tokens), rows_of(llama, tmp_path), 1e-5)


def test_activations_may_be_made_again(llama, tmp_path, monkeypatch):
    check(doubled(llama, monkeypatch, gradient_checkpointing=True), rows_of(llama, tmp_path), 1e-5)


def test_each_member_is_clipped_by_itself(llama, tmp_path, monkeypatch):
    """By SGD, to whose steps the scale of a gradient matters, and with a limit that some members reach and some not."""
    rows, own = rows_of(llama, tmp_path), doubled(llama, monkeypatch, epochs=1, schedule="constant", warmup=0.0)
    own = replace(own, optimizer=lambda parameters: torch.optim.SGD(parameters, 10.0))
    norms = []
    for positions, seed in zip(KEPT, SEEDS, strict=True):
        module, (x, y) = own.module(seed), rows.gather(positions)
        objective, parameters = own.objective, training.trainable(module)
        loss = objective.losses(objective.outputs(module, x), y).mean()
        gradients = torch.autograd.grad(loss, parameters)
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
    limit = float(np.mean([min(norms), max(norms)]))
    assert min(norms) < limit < max(norms)
    check(replace(own, clip=limit), rows, 1e-5)
    check(replace(own, clip=None), rows, 1e-5)


def test_the_base_stays_and_is_shared(base, rows):
    before = {name: value.clone() for name, value in bases.frozen(str(base), "float32").named_parameters()}
    first, second, _ = stacked.train_stack(recipe(base, epochs=1), rows, KEPT, SEEDS, Silent())
    for name, value in bases.frozen(str(base), "float32").named_parameters():
        assert torch.equal(value, before[name])
    ours, theirs = (dict(module.named_parameters()) for module in (first, second))
    assert all((value is theirs[name]) is not value.requires_grad for name, value in ours.items())


def test_peft_loads_what_a_stack_exports(base, rows, tmp_path):
    from peft import PeftModel

    own = recipe(base)
    module = list(backends.train(Backend.VECTORISED, own, rows, KEPT, SEEDS, Silent()))[1]
    path = weights.save(module, tmp_path / "adapter" / module.file_name)
    module.describe_in(path.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for a name that goes
        theirs = PeftModel.from_pretrained(bases.loaded(str(base)), path.parent).eval()
    alone = training.train(own, rows.select(KEPT[1]), SEEDS[1])
    x, _ = rows.gather(np.arange(4))
    inputs = {name: x[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        torch.testing.assert_close(theirs(**inputs).logits, alone.model(**inputs).logits, rtol=1e-3, atol=1e-3)
    assert weights.digest(weights.load_into(own.module(9), path.parent)) == weights.digest(module)


def test_a_stacked_layer_applies_each_layer_to_its_own_rows():
    layers = [nn.Linear(5, 3, bias=False) for _ in range(4)]
    x = torch.randn(8, 7, 5, generator=torch.Generator().manual_seed(0))
    wanted = torch.cat([layer(x[2 * k : 2 * k + 2]) for k, layer in enumerate(layers)])
    torch.testing.assert_close(stacked_linear.StackedLinear(layers)(x), wanted)


def test_portions_have_as_many_rows_of_each_member_and_short_ones_first():
    lengths = torch.tensor([5, 2, 9, 1, 8, 3])
    mask = (torch.arange(9)[None] < lengths[:, None]).long()
    found = training.portions({batches.IDS: mask, batches.MASK: mask}, 20, 2)
    assert [part.tolist() for part in found] == [
        [1, 0, 3, 5],
        [2, 4],
    ]  # two rows of each with 5 tokens at most, then one
    assert training.portions(torch.zeros(6, 4), 20, 2) == [slice(None)]


# Which backend trains


def test_a_stack_has_as_many_members_as_may_pass_a_row_at_once(llama, tmp_path):
    rows = rows_of(llama, tmp_path)
    longest = int(batches.lengths(rows.x).max())
    chunks = backends.chunks(recipe(llama, batch_tokens=3 * longest), Backend.VECTORISED, rows, [24] * 7)
    assert chunks == [[0, 1, 2], [3, 4, 5], [6]]
    assert stacked.largest_stack(recipe(llama), rows) == min(64, batches.TOKENS // longest)
    assert stacked.largest_stack(recipe(llama, batch_tokens=1), rows) == 1


def test_the_choice_names_both_figures(base, rows):
    _, why = backends.choose(recipe(base), rows, KEPT)
    assert "ms a member's step stacked 3 at a time" in why and "ms in" in why


@pytest.mark.parametrize(
    ("lora", "settings", "reason"),
    [
        ({"dropout": 0.1}, {}, "draws random numbers"),
        (None, {}, "all weights are trained"),
        (LORA, {"precision": "bf16"}, "mixed precision"),
        (LORA, {"average": 0.9}, "averages its weights"),
    ],
)
def test_what_is_not_stacked_says_why(llama, tmp_path, lora, settings, reason):
    own, rows = replace(recipe(llama, lora), **settings), rows_of(llama, tmp_path)
    assert reason in stacked.obstacle(own)
    with pytest.raises(UsageError, match=f"cannot be vectorised: .*{reason}"):
        next(backends.train(Backend.VECTORISED, own, rows, KEPT, SEEDS, Silent()))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "lora_magnitude_vector.default.weight is trained"),
        ({"target_modules": ["embed_tokens"]}, "lora_embedding_A.default is trained"),
    ],
)
def test_other_adapters_are_not_stacked(llama, settings, reason):
    from peft import LoraConfig, inject_adapter_in_model

    own = bases.loaded(str(llama)).requires_grad_(False)
    given = {"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | settings
    reader = causal_lm.AdaptedReader(inject_adapter_in_model(LoraConfig(**given), own), str(llama), causal_lm.Lora())
    assert reason in reader.unstackable()
    assert causal_lm.build(str(llama), causal_lm.Lora()).unstackable() is None


def test_dropout_that_no_layer_shows_is_found_and_draws_from_no_global_state(llama, tmp_path):
    base = without_dropout(shutil.copytree(llama, tmp_path / "base"), attention_dropout=0.2)
    own, before = recipe(base), torch.get_rng_state()
    assert stacked.obstacle(own) is None
    assert stacked_check.obstacle(own, rows_of(base, tmp_path)).startswith("trained side by side, model.")
    assert torch.equal(torch.get_rng_state(), before)


class Counting(causal_lm.AdaptedReader):
    """Counts its passes in a buffer."""

    def forward(self, *args, **named):
        self.passes += 1
        return super().forward(*args, **named)


def test_a_base_whose_buffers_change_is_found(llama, tmp_path):
    def build():
        module = causal_lm.build(str(llama), causal_lm.Lora())
        module.__class__ = Counting
        module.register_buffer("passes", torch.zeros(1))
        return module

    own = replace(recipe(llama), build=build)
    assert stacked_check.obstacle(own, rows_of(llama, tmp_path)).startswith("training changes passes")
