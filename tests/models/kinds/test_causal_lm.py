"""Causal language models: readings against transformers' own loss, adapters against PEFT, and a whole case."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

import neuralyzer as nz
from neuralyzer.data import batches
from neuralyzer.errors import UsageError, WeightsError
from neuralyzer.methods import catalogue
from neuralyzer.models import language, reading, training, weights
from neuralyzer.models.kinds import bases, causal_lm
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task
from tests.models.language_worlds import made_base, pairs, write

LORA = {"r": 4, "alpha": 8}


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return made_base(tmp_path_factory.mktemp(request.param) / "base", request.param, steps=30)


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return made_base(tmp_path_factory.mktemp("one") / "base", "llama", steps=60)


@pytest.fixture
def rows(base, tmp_path):
    return nz.Data.from_texts(write(pairs(6), tmp_path / "rows.jsonl"), causal_lm.tokenizer_of(base), subject="author")


def recipe(base, lora=LORA, **settings):
    return nz.Recipe.causal_lm(base, lora, **({"epochs": 4, "learning_rate": 5e-3} | settings))


def of_transformers(model, x):
    """The mean loss of each row, by transformers' own loss with labels."""
    labels = torch.where(x["target_mask"].bool(), x["input_ids"], -100)
    return torch.stack(
        [
            model(
                input_ids=x["input_ids"][k : k + 1],
                attention_mask=x["attention_mask"][k : k + 1],
                labels=labels[k : k + 1],
            ).loss
            for k in range(len(labels))
        ]
    )


@pytest.mark.parametrize("chunk", [7, 100_000])
def test_a_rows_loss_and_its_gradient_are_those_of_transformers(base, rows, monkeypatch, chunk):
    monkeypatch.setattr(language, "held", lambda head: chunk)
    module = recipe(base, None).module()
    x, y = rows.gather(np.arange(8))
    objective = recipe(base).objective
    losses, wanted = objective.losses(objective.outputs(module, x), y), of_transformers(module.model, x)
    torch.testing.assert_close(losses, wanted, rtol=1e-5, atol=1e-6)
    parameters = [value for value in module.parameters() if value.requires_grad]
    own, theirs = (torch.autograd.grad(loss.mean(), parameters) for loss in (losses, wanted))
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_margin_and_share_of_greedy_tokens_by_hand(base, rows):
    module = recipe(base).module()
    x, y = rows.gather(np.arange(3))
    outputs = reading.outputs(module, recipe(base).objective, x)
    with torch.no_grad():
        logits = module.model(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).logits.double().softmax(-1)
    for k in range(3):
        places = torch.nonzero(x["target_mask"][k, 1:]).flatten()
        p = logits[k, places, x["input_ids"][k, places + 1]]
        assert float(outputs[k, language.MARGIN]) == pytest.approx(float((p.log() - (1 - p).log()).mean()), abs=1e-4)
        greedy = (logits[k, places].argmax(-1) == x["input_ids"][k, places + 1]).double().mean()
        assert float(outputs[k, language.CORRECT]) == pytest.approx(float(greedy))
        assert float(outputs[k, language.TOKENS]) == len(places) == float(y[k])


def test_neither_padding_nor_what_a_prompt_says_next_touches_a_loss(base, rows):
    module, objective = recipe(base).module(), recipe(base).objective
    x, _ = rows.gather(np.arange(8))
    before = reading.outputs(module, objective, x)
    padded = x | {"input_ids": torch.where(x["attention_mask"].bool(), x["input_ids"], 7)}
    torch.testing.assert_close(reading.outputs(module, objective, padded), before, rtol=1e-4, atol=1e-5)
    row = batches.take(x, slice(0, 1))
    last = int(torch.nonzero(row["target_mask"][0])[-1])
    assert int(row["input_ids"][0, last]) == causal_lm.tokenizer_of(base).eos_token_id  # the end is learned
    first = int(torch.nonzero(row["target_mask"][0])[0])
    assert first > 3 and not row["target_mask"][0, :first].any()


def test_adapters_are_pefts_and_the_base_stays(base, rows, tmp_path):
    from peft import LoraConfig, PeftModel

    own = recipe(base)
    digest = causal_lm.digest_of(str(base))
    frozen = copy.deepcopy(dict(bases.frozen(str(base), "float32").named_parameters()))
    module = training.train(own, rows)
    path = weights.save(module, tmp_path / "adapter" / "adapter_model.safetensors")
    LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", base_model_name_or_path=str(base),
        fan_in_fan_out="gpt2" in module.model.config.model_type,
    ).save_pretrained(path.parent)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for a name that goes
        theirs = PeftModel.from_pretrained(bases.loaded(str(base)), path.parent).eval()
    x, _ = rows.gather(np.arange(4))
    inputs = {name: x[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(theirs(**inputs).logits, module.model(**inputs).logits, rtol=1e-4, atol=1e-5)
    for name, value in bases.frozen(str(base), "float32").named_parameters():
        assert torch.equal(value, frozen[name])
    assert module.base_digest() == digest
    again = weights.load_into(own.module(3), path)
    assert weights.digest(again) == weights.digest(module) == weights.digest(weights.clone(module))
    shared = dict(weights.clone(module).model.named_parameters())
    assert all(shared[name] is value for name, value in module.model.named_parameters() if not value.requires_grad)


def test_the_same_seed_gives_the_same_adapter(base, rows):
    first, second, other = (training.train(recipe(base), rows, seed) for seed in (1, 1, 2))
    assert weights.digest(first) == weights.digest(second) != weights.digest(other)
    assert reading.mean_loss(first, recipe(base).objective, rows) < reading.mean_loss(
        recipe(base).module(), recipe(base).objective, rows
    )


@pytest.mark.parametrize("lora, dtype", [(LORA, "float32"), (LORA, "bfloat16"), (None, "float32")])
def test_what_is_sent_to_another_process_names_the_base_by_its_folder(base, rows, lora, dtype):
    own = recipe(base, lora, **({"dtype": dtype} if lora else {})).module(3)
    with torch.no_grad():
        for value in own.parameters():
            if value.requires_grad:
                value += 0.01
    content = pickle.dumps(own)
    assert len(content) < (60_000 if lora else 10**6) and b"transformers" not in content
    drawn = torch.random.get_rng_state()
    other = pickle.loads(content)
    assert torch.equal(drawn, torch.random.get_rng_state())
    x, _ = rows.gather(np.arange(4))
    assert other.training == own.training
    assert torch.equal(other.eval()(**x), own.eval()(**x))
    assert [(n, v.dtype, v.requires_grad) for n, v in other.named_parameters()] == [
        (n, v.dtype, v.requires_grad) for n, v in own.named_parameters()
    ]


def test_another_process_reads_the_base_from_its_folder(llama, tmp_path):
    own = recipe(llama).module(3)
    (tmp_path / "pickled").write_bytes(pickle.dumps(own))
    code = "import pickle, sys; print(type(pickle.load(open(sys.argv[1], 'rb'))).__name__)"
    arguments = [sys.executable, "-c", code, tmp_path / "pickled"]
    read = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert read.stdout.strip() == type(own).__name__, read.stderr


def test_all_weights_may_be_trained(base, rows):
    own = recipe(base, None, epochs=2, learning_rate=1e-3)
    module = training.train(own, rows)
    assert own.digest != recipe(base).digest and set(weights.state(module)) == set(module.model.state_dict())


@pytest.mark.parametrize("lora", [LORA, None])
def test_influence_says_where_no_layer_has_factors(base, rows, lora):
    """GPT-2's own layers are no Linear ones; its adapters are."""
    oracle = nz.TrainedModel.fit(recipe(base, lora, epochs=1), rows)
    task = Task(oracle, nz.ErasureRequest(subjects=[rows.subjects[0]]))
    lacking = lora is None and "gpt2" in oracle.model.model.config.model_type
    reason = catalogue.make("influence").obstacle(task)
    assert (reason is not None) == lacking and (not lacking or "weight of its own" in reason)


def test_what_a_plan_says(llama, tmp_path):
    tokenizer = causal_lm.tokenizer_of(llama)
    data, holdout = (
        nz.Data.from_texts(write(pairs(count, seed=seed), tmp_path / f"{seed}.jsonl"), tokenizer, subject="author")
        for count, seed in ((8, 0), (45, 5))
    )
    oracle = nz.TrainedModel.fit(recipe(llama, epochs=1), data, holdout)
    why = {own.method: own.reason for own in nz.plan(oracle, nz.ErasureRequest(subjects=["a00"])).options}
    assert "needs per-row gradients, which a causal language model does not have" in why["ssd"]
    for possible in ("retrain", "finetune", "npo", "task-vector"):
        assert "does not have" not in why[possible]


@pytest.mark.slow
def test_a_whole_case_of_an_author(llama, tmp_path):
    tokenizer = causal_lm.tokenizer_of(llama)
    data, holdout = (
        nz.Data.from_texts(
            write(pairs(count, seed=seed), tmp_path / f"{seed}.jsonl"), tokenizer, subject="author", id=None
        )
        for count, seed in ((14, 0), (60, 5))
    )
    own = recipe(llama, {"r": 8, "alpha": 16}, epochs=25, batch_size=8)
    oracle, place = nz.TrainedModel.fit(own, data, holdout), nz.Workspace(tmp_path)
    references = nz.References.fit(oracle, 24, workspace=place, leave_out=0.5)
    asked = nz.ErasureRequest(subjects=["a00", "a01"])
    audit = nz.audit(oracle, asked, references)
    assert audit.verdict is nz.Verdict.NOT_FORGOTTEN
    assert {own["signal"] for own in audit.families} >= {"margin", "augmented", "correct"}
    task = Task(oracle, asked, references)
    stepped = catalogue.make("influence").unlearn(task)
    repaired = Repair().mend(stepped, task)
    before, after = (task.trace(module).traces["margin"].trace for module in (oracle.model, repaired))
    assert before > 0.7 and abs(after) < 0.3
    kept = [reading.mean_loss(module, own.objective, task.retain) for module in (stepped, repaired)]
    assert kept[1] < kept[0]  # the repair mends what the step did to retained rows
    case = nz.forget(oracle, asked, references, place, method="retrain")
    assert case.verdict is nz.Verdict.FORGOTTEN
    names = safetensors.torch.load_file(case.weights)
    assert all(name.startswith("base_model.model.") and "lora_" in name for name in names)


# Bad input


def test_an_adapter_of_another_recipe_is_refused(base, tmp_path):
    path = weights.save(recipe(base).module(), tmp_path / "own.safetensors")
    with pytest.raises(WeightsError, match="is no adapter of this recipe"):
        weights.load_into(recipe(base, {"r": 8}).module(), path)
    with pytest.raises(WeightsError, match="is a whole model, as after merging"):
        weights.load_into(recipe(base).module(), base / "model.safetensors")


def test_bases_that_cannot_be_used_are_one_clear_line(llama, tmp_path):
    pickled = shutil.copytree(llama, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    for folder, line in (
        (pickled, "pytorch_model.bin is a pickle, which can run code"), (adapter, "is an adapter; name its base"),
        (tmp_path / "nothing", "no model: it has no config.json"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=line):
            nz.Recipe.causal_lm(folder)
    small = shutil.copytree(llama, tmp_path / "small")
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"vocab_size": 10}))
    with pytest.raises(UsageError, match=r"the tokenizer of .* has \d+ tokens and the base 10"):
        causal_lm.tokenizer_of(small)


def test_settings_of_lora_are_one_clear_line(llama):
    with pytest.raises(UsageError, match="lora has r, alpha, targets and dropout"):
        nz.Recipe.causal_lm(llama, {"rank": 8})
    with pytest.raises(UsageError, match="must be above 0"):
        nz.Recipe.causal_lm(llama, {"r": 0})
    with pytest.raises(UsageError, match="fit no layer"):
        nz.Recipe.causal_lm(llama, {"targets": "no_such_layer"}).module()
