"""Settings of a language model's training: portions of a step, schedules, recomputed activations, number formats."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import neuralyzer as nz
from neuralyzer.data import batches
from neuralyzer.errors import UsageError
from neuralyzer.models import language, reading, schedules, training, weights
from neuralyzer.models.kinds import bases
from neuralyzer.registry.history import History
from neuralyzer.registry.record import Recorder
from tests.models.language_worlds import made_base, pairs, write

LORA = {"r": 4, "alpha": 8}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return made_base(tmp_path_factory.mktemp(request.param) / "base", request.param, steps=20)


@pytest.fixture
def rows(base, tmp_path):
    uneven = [row | {"completion": row["completion"] * (1 + k % 3)} for k, row in enumerate(pairs(6))]
    return nz.Data.from_texts(write(uneven, tmp_path / "rows.jsonl"), bases.tokenizer_of(base), subject="author")


def gradient(recipe, rows, seen=None):
    """The gradient of one step on 16 rows, as what plain gradient descent at rate 1 takes off the weights."""
    recipe = replace(recipe, optimizer=lambda parameters: torch.optim.SGD(parameters, 1.0), clip=None)
    module = recipe.module(3)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0  # GPT-2 has some, and portions draw others than the whole batch
    with torch.no_grad():
        for value in training.trainable(module):
            value.add_(0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    if seen is not None:
        module.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append(kwargs["input_ids"].shape), with_kwargs=True
        )
    before = [value.detach().clone() for value in training.trainable(module)]
    step = training.run_steps(
        recipe, module, recipe.optimizer(training.trainable(module)), rows, iter([np.arange(16)]), 0
    )
    loss = float(next(step))
    return loss, torch.cat(
        [(a - b.detach()).flatten() for a, b in zip(before, training.trainable(module), strict=True)]
    )


@pytest.mark.parametrize("lora", [LORA, None])
def test_a_step_in_portions_has_the_gradient_of_one_batch(base, rows, lora):
    x, _ = rows.gather(np.arange(16))
    most = x["input_ids"].numel()
    seen: list = []
    whole_loss, whole = gradient(nz.Recipe.causal_lm(base, lora, batch_tokens=most), rows)
    for halved in (most // 2, most // 4):
        seen.clear()
        loss, portioned = gradient(nz.Recipe.causal_lm(base, lora, batch_tokens=halved), rows, seen)
        assert len(seen) > 1 and max(count * width for count, width in seen) <= halved
        assert sum(count for count, _ in seen) == 16
        assert loss == pytest.approx(whole_loss, rel=1e-5)
        assert float((portioned - whole).norm() / whole.norm()) < 1e-5


def test_a_row_that_is_longer_than_a_portion_goes_alone():
    x = batches.tokens([[1] * 3, [1] * 9, [1] * 2, [1] * 2])
    assert [rows.tolist() for rows in training.portions(x, 6)] == [[2, 3], [0], [1]]
    assert training.portions(x, None) == [slice(None)] == training.portions(torch.ones(3, 2), 6)


@pytest.mark.parametrize("name", schedules.NAMES)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.33])
def test_schedules_have_the_rates_of_transformers(name, warmup):
    transformers = bases.import_transformers()
    rates = []
    for theirs in (False, True):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.5)
        if theirs:
            usual = "constant_with_warmup" if name == "constant" else name
            rising = transformers.TrainingArguments(warmup_steps=warmup, use_cpu=True).get_warmup_steps(25)
            schedule = transformers.get_scheduler(usual, optimizer, rising, 25)
        else:
            schedule = schedules.NamedSchedule(name, warmup)(optimizer, 25)
        own = []
        for _ in range(26):
            own.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        rates.append(own)
    assert rates[0] == pytest.approx(rates[1], abs=1e-12)


def test_recomputed_activations_give_the_same_gradient_and_are_not_kept(base, rows):
    kept = []
    for recompute in (False, True):
        recipe = nz.Recipe.causal_lm(base, LORA, gradient_checkpointing=recompute)
        sizes: list[int] = []

        def note(value, sizes=sizes):
            sizes.append(value.numel())
            return value

        with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
            module = recipe.module().train()
            x, y = rows.gather(np.arange(8))
            recipe.objective.losses(recipe.objective.outputs(module, x), y)
        kept.append((sum(sizes), *gradient(recipe, rows)))
        assert recipe.digest == nz.Recipe.causal_lm(base, LORA).digest  # it changes no weights, so no pool is lost
    (much, loss, plain), (little, again, recomputed) = kept
    assert little < much / 2 and again == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(recomputed, plain, rtol=1e-4, atol=1e-7)


def test_a_base_in_bfloat16_with_adapters_in_float32(base, rows):
    recipe, plain = (nz.Recipe.causal_lm(base, LORA, dtype=dtype, epochs=1) for dtype in ("bfloat16", "float32"))
    module = training.train(recipe, rows)
    kinds = {value.requires_grad: value.dtype for value in module.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16} and recipe.digest != plain.digest
    losses = [reading.mean_loss(own.module(), own.objective, rows) for own in (recipe, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01) and losses[0] != losses[1]


def test_long_rows_are_counted_exactly_in_bfloat16():
    hidden, head = (
        torch.ones(1, 301, 2, dtype=torch.bfloat16),
        torch.nn.Linear(2, 4, bias=False).bfloat16().requires_grad_(False),
    )
    readings = language.row_readings(hidden, head, torch.zeros(1, 301, dtype=torch.int64), torch.ones(1, 301).bool())
    alone = language.row_readings(hidden[:, :1], head, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1).bool())
    assert float(readings[0, language.TOKENS]) == 301
    assert float(readings[0, language.LOSS]) == pytest.approx(float(alone[0, language.LOSS]), rel=1e-5)


def test_a_recipe_is_the_same_wherever_its_base_stands_and_another_on_another_base(base, tmp_path):
    moved = shutil.copytree(base, tmp_path / "elsewhere")
    for lora in (LORA, None):
        assert nz.Recipe.causal_lm(moved, lora).digest == nz.Recipe.causal_lm(base, lora).digest
    other = made_base(tmp_path / "other", "llama", steps=1)
    assert len({nz.Recipe.causal_lm(folder, None).digest for folder in (base, other)}) == 2
    assert nz.Recipe.causal_lm(base).base == bases.digest_of(base) in nz.Recipe.causal_lm(base).bases


def test_a_recorded_training_by_the_recipe_is_replayed_bit_by_bit(base, rows, tmp_path):
    recipe = nz.Recipe.causal_lm(base, LORA, epochs=2, batch_tokens=64, schedule="cosine", warmup=0.2)
    recorder = Recorder(tmp_path / "run", rows, every=3, recipe=recipe.digest, seed=recipe.seed, base=recipe.base)
    oracle = nz.TrainedModel.fit(recipe, rows, observer=recorder)
    recorder.finish(oracle.model)
    history = History.read(tmp_path / "run")
    drops = recipe.module().model.config.model_type == "gpt2"  # dropout draws anew where a replay begins
    for checkpoint in history.checkpoints[: 1 if drops else 2]:
        module, order = recipe.module(9), history.batches_from(checkpoint.step)
        optimizer = recipe.optimizer(training.trainable(module))
        history.load(checkpoint, module, optimizer)
        steps = training.run_steps(recipe, module, optimizer, rows, order, recipe.seed, done=checkpoint.step)
        assert len(list(steps)) == history.steps - checkpoint.step
        assert weights.digest(module) == oracle.digest == history.weights


# Bad input


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"batch_tokens": 0}, "batch_tokens is 0; it must be at least 1"),
        ({"schedule": "sine"}, "schedule is 'sine'; it must be constant, linear, cosine, or a function"),
        ({"schedule": "linear", "warmup": 1.0}, "warmup is 1.0; it is a share of the steps"),
        ({"schedule": lambda optimizer, steps: None, "warmup": 0.1}, "warmup goes with a schedule by name"),
        ({"dtype": "int4"}, "dtype is 'int4'; it must be float32 or bfloat16"),
        ({"dtype": "bfloat16", "lora": None}, "dtype='bfloat16' is for a frozen base"),
    ],
)
def test_bad_settings_are_one_clear_line(base, settings, line):
    with pytest.raises(UsageError, match=line):
        nz.Recipe.causal_lm(base, **settings)


def test_a_number_format_that_the_device_lacks_is_one_clear_line():
    bases.require_dtype(torch.bfloat16, torch.device("cpu"))
    with pytest.raises(UsageError, match="the device 'cpu' does not compute in uint16; take dtype='float32'"):
        bases.require_dtype(torch.uint16, torch.device("cpu"))


def test_rows_that_a_base_cannot_read_are_one_clear_line(base, rows, tmp_path):
    recipe = nz.Recipe.causal_lm(base, LORA)
    long = [{"text": "river stone winter " * 60}]
    data = nz.Data.from_texts(write(long, tmp_path / "long.jsonl"), bases.tokenizer_of(base), max_length=200)
    with pytest.raises(UsageError, match=r"the training rows have a row of \d+ tokens, and the base reads 128"):
        nz.TrainedModel.fit(recipe, data)
    other = batches.tokens([[5, 9_999]]) | {"target_mask": torch.ones(1, 2, dtype=torch.int64)}
    with pytest.raises(UsageError, match=r"have token 9,999 and the base .* they were made by another tokenizer"):
        nz.TrainedModel.fit(recipe, nz.Data.from_arrays(other, torch.ones(1)))
    with pytest.raises(UsageError, match="the training rows are no texts; read them by"):
        nz.TrainedModel.fit(recipe, nz.Data.from_arrays(torch.ones(4, 3), torch.ones(4)))
