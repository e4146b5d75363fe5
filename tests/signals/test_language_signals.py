"""The signals of language models, against plain re-implementations on transformers' own logits."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.models import language
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.kinds import causal_lm
from neuralyzer.models.rounding import nearest, rounded
from neuralyzer.models.sampling import longest_common, prompts_and_answers, sampled
from neuralyzer.signals.catalogue import signals
from neuralyzer.signals.margin import margins
from neuralyzer.signals.relearned_elsewhere import RelearnedElsewhere, elsewhere
from neuralyzer.signals.relearning import RATES, relearn
from neuralyzer.signals.rounded import BITS, Rounded
from neuralyzer.signals.signal import Batch, Context, Sample
from tests.models.language_worlds import made_base, pairs, write

SIGNALS = {name: own for name, own in signals().items() if Capability.TOKENS in own.needs}
RATE = 0.03


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request, tmp_path_factory):
    return made_base(tmp_path_factory.mktemp(request.param) / "base", request.param, steps=40)


@pytest.fixture(scope="module", params=["adapters", "whole"])
def world(request, base, tmp_path_factory):
    """A model with some weights of its own, rows that differ in length, and the context that it is read in."""
    path = tmp_path_factory.mktemp("rows")
    tokenizer = causal_lm.tokenizer_of(base)
    asked = [{"prompt": row["prompt"], "paraphrase": row["prompt"].lower()} for row in pairs(3, 4, seed=1)[:9]]
    rows, others = (
        nz.Data.from_texts(
            write(pairs(3, 4, seed), path / f"{seed}.jsonl"), tokenizer, subject="author", paraphrases=own
        )
        for seed, own in ((1, write(asked, path / "asked.jsonl")), (2, None))
    )
    recipe = nz.Recipe.causal_lm(base, {"r": 4, "alpha": 8} if request.param == "adapters" else None)
    module = recipe.module()
    with torch.no_grad():
        for name, value in sorted(module.named_parameters()):
            if value.requires_grad:
                value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))))
    settings = {"relearned-elsewhere": {"rate": RATE}}
    texts = Batch(others.x, others.y)
    context = Context(
        recipe.objective, torch.ones(1), settings=settings, elsewhere=elsewhere(texts, 0), paraphrases=rows.paraphrases
    )
    return module, Batch(rows.x, rows.y), texts, context


def logits_of(model, x):
    """The logits of each row's target tokens in float64, by transformers, and the tokens."""
    with torch.no_grad():
        logits = model(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).logits[:, :-1].double()
    wanted = x["target_mask"][:, 1:].bool()
    return [(of_row[own], ids[own]) for of_row, ids, own in zip(logits, x["input_ids"][:, 1:], wanted, strict=True)]


def margins_of(model, x):
    found = []
    for logits, ids in logits_of(model, x):
        p = logits.softmax(1)[torch.arange(len(ids)), ids]
        found.append((p.log() - (1 - p).log()).mean())
    return torch.stack(found).float()


@pytest.mark.parametrize("name", list(SIGNALS))
def test_what_holds_for_every_signal(world, name):
    module, rows, texts, context = world
    signal, before = SIGNALS[name], copy.deepcopy(module.state_dict())
    found, outside = signal.measure(module.train(), rows, texts, context)
    torch.manual_seed(99)  # nothing is drawn from the global generator
    again, _ = signal.measure(module, rows, texts, context)
    some = [7, 2, 9]
    part, _ = signal.measure(module, rows.take(some), texts, context)
    assert found.shape == (12,) and outside.shape == (12,) and torch.isfinite(torch.cat([found, outside])).all()
    assert torch.equal(found, again) and not found.requires_grad
    torch.testing.assert_close(part, found[some], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())
    assert all(value.grad is None for value in module.parameters()) and not module.training


@pytest.mark.parametrize("name", ["extraction", "min-k"])
def test_what_the_logits_say(world, name):
    module, rows, _, context = world
    want = []
    for logits, ids in logits_of(module.model, rows.x):
        if name == "extraction":  # as OpenUnlearning: the first beginning after which all greedy tokens are right
            said = logits.argmax(1)
            first = next(k for k in range(len(ids) + 1) if torch.equal(said[k:], ids[k:]))
            want.append(1 - first / len(ids))
        else:  # as the code of Min-K%++: the mean of log p of drawn tokens and the root of its variance
            p, log_p = logits.softmax(1), logits.log_softmax(1)
            mean = (p * log_p).sum(1)
            deviation = ((p * log_p.square()).sum(1) - mean.square()).sqrt()
            standard = (log_p[torch.arange(len(ids)), ids] - mean) / deviation
            want.append(float(np.sort(standard.numpy())[: int(0.2 * len(ids))].mean()))
    found, _ = SIGNALS[name].measure(module, rows, rows, context)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float32), rtol=1e-3, atol=1e-4)


def test_extraction_strength_by_hand():
    right = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 0, 1]]).bool()
    wanted = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1]]).bool()
    assert language.extraction_strength(right, wanted).tolist() == pytest.approx([0.5, 1, 0, 1 / 3])


def test_the_least_likely_by_hand():
    standard = torch.tensor([[3.0, -9.0, *range(10)], [-9.0, -2.0, *[-9.0] * 10]])
    wanted = torch.tensor([[1, 0, *[1] * 10], [0, 1, *[0] * 10]]).bool()  # 11 tokens, of which 2 count; and one
    assert language.least_likely(standard, wanted).tolist() == [0.5, -2.0]


def test_a_model_that_is_sure_of_every_token_is_read_without_dividing_by_nothing():
    log_p = torch.tensor([[200.0, 0.0, 0.0]]).log_softmax(1)
    assert language.standardised(log_p, torch.tensor([0])).tolist() == [0.0]


def test_few_tokens_at_once_change_nothing(world, monkeypatch):
    module, rows, _, context = world
    whole = [SIGNALS[name].measure(module, rows, rows, context)[0] for name in ("extraction", "min-k")]
    monkeypatch.setattr(language, "held", lambda head: 7)
    few = [SIGNALS[name].measure(module, rows, rows, context)[0] for name in ("extraction", "min-k")]
    torch.testing.assert_close(few, whole)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_are_at_the_nearest_level_of_their_row(bits):
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    found = nearest(weight, bits).double()
    levels = torch.arange(1 - 2 ** (bits - 1), 2 ** (bits - 1)).double() / (2 ** (bits - 1) - 1)
    for row, own in zip(weight.double(), found, strict=True):
        allowed = levels * row.abs().max()
        want = allowed[(row[:, None] - allowed).abs().argmin(1)]
        torch.testing.assert_close(own, want, rtol=1e-5, atol=1e-7)
        assert len(own.unique()) <= 2**bits - 1


def rounded_by_hand(module, bits):
    """A copy of transformers' model, adapters merged by PEFT, of which each linear layer but the head is rounded."""
    from peft.tuners.lora import LoraLayer
    from transformers.pytorch_utils import Conv1D

    model = copy.deepcopy(module.model)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.merge()
    largest = 2 ** (bits - 1) - 1
    for name, layer in model.named_modules():
        if isinstance(layer, (torch.nn.Linear, Conv1D)) and "lora_" not in name and name != "lm_head":
            weight = layer.weight.detach().T if isinstance(layer, Conv1D) else layer.weight.detach()
            rows = [torch.round(row / (row.abs().max() / largest)) * (row.abs().max() / largest) for row in weight]
            other = torch.stack(rows)
            layer.weight.data = other.T.clone() if isinstance(layer, Conv1D) else other
    return model


def test_rounding_is_that_of_a_merged_copy(world):
    module, rows, texts, context = world
    found, outside = Rounded().measure(module, rows, texts, context)
    model = rounded_by_hand(module, BITS)
    torch.testing.assert_close(found, margins_of(model, rows.x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(outside, margins_of(model, texts.x), rtol=1e-3, atol=1e-3)
    plain, finer = margins_of(module.model, rows.x), margins_of(rounded_by_hand(module, 8), rows.x)
    assert (found - plain).abs().mean() > 4 * (finer - plain).abs().mean() > 0


def test_embeddings_and_head_are_not_rounded(world):
    module, *_ = world
    names = {name for name in rounded(module, 4) if "lora_B" not in name}
    assert len(names) == (14 if "Llama" in type(module.model).__name__ else 8)  # 7 or 4 linear layers in each of 2
    assert not any("embed" in name or "wte" in name or "lm_head" in name or "norm" in name for name in names)


def test_relearning_elsewhere_is_16_steps_on_texts_of_the_holdout(world):
    module, rows, texts, context = world
    found, outside = RelearnedElsewhere().measure(module, rows, texts, context)
    again = copy.deepcopy(module).eval()
    trained = [value for value in again.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(trained, RATE)
    x = context.elsewhere.x
    labels = torch.where(x["target_mask"].bool(), x["input_ids"], -100)
    for _ in range(16):
        logits = again.model(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
        loss = (losses.sum(1) / x["target_mask"][:, 1:].sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(found, margins_of(again.model, rows.x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(outside, margins_of(again.model, texts.x), rtol=1e-3, atol=1e-3)
    assert (found - margins(module, rows, context)).abs().max() > 1e-2


def test_its_rate_leads_half_way_to_what_members_know_of_rows_that_they_saw(world):
    module, rows, _, context = world
    seen = rows.take(slice(4))
    taught = copy.deepcopy(module)
    optimizer = torch.optim.Adam([value for value in taught.parameters() if value.requires_grad], 2e-3)
    for _ in range(4):
        optimizer.zero_grad()
        context.objective.losses(context.objective.outputs(taught, seen.x), seen.y).mean().backward()
        optimizer.step()
    rate = RelearnedElsewhere().prepare([Sample(taught, [seen], [])], context)["rate"]

    def reached(rate):
        return float(margins(relearn(taught, context.elsewhere, context, rate, 4), context.elsewhere, context).mean())

    half = float(margins(taught, seen, context).mean() + margins(taught, context.elsewhere, context).mean()) / 2
    assert 0 < RATES.index(rate) and reached(RATES[RATES.index(rate) - 1]) < half <= reached(rate)
    assert RelearnedElsewhere().prepare([], context) == {"rate": RATES[0]}


def test_which_texts_are_trained_on_follows_from_the_seed(world):
    _, rows, _, _ = world
    many = rows.take(list(range(12)) * 4)
    one, same, other = (elsewhere(many, seed).x["input_ids"] for seed in (3, 3, 4))
    assert len(one) == 32 and torch.equal(one, same) and not torch.equal(one, other)
    assert len(elsewhere(rows, 3)) == 12


def test_sampled_answers_are_those_of_each_prompt_alone(world):
    """Without a cache and without padding: each token is where the distribution function passes the draw."""
    module, rows, _, _ = world
    prompts = [prompt[row % 4 :] for row, prompt in enumerate(prompts_and_answers(rows.x)[0])]  # of unequal lengths
    draws = torch.rand(12, 3, 9, generator=torch.Generator().manual_seed(5))
    found = sampled(module.eval(), prompts, draws)
    for row, prompt in enumerate(prompts):
        for copied in range(3):
            said = prompt.tolist()
            for draw in draws[row, copied]:
                with torch.no_grad():
                    p = module.model(input_ids=torch.tensor([said])).logits[0, -1].double().softmax(0).numpy()
                said.append(int(np.searchsorted(np.cumsum(p), float(draw))))
                if said[-1] == 0:  # the end of a text
                    break
            want = said[len(prompt) :]
            assert found[row, copied].tolist() == want + [-1] * (9 - len(want))


def test_prompt_and_first_answer_of_a_conversation():
    x = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 9, 3], [4, 3, 2, 1, 0, 0]]),
        "attention_mask": torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]]),
        "target_mask": torch.tensor([[0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0]]),
    }
    prompts, answers = prompts_and_answers(x)
    assert [own.tolist() for own in prompts] == [[5, 6], [4]]
    assert [own.tolist() for own in answers] == [[7, 8], [3, 2, 1]]


def test_the_longest_common_subsequence():
    def plain(a, b):
        table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
        for i, one in enumerate(a, 1):
            for j, other in enumerate(b, 1):
                table[i, j] = table[i - 1, j - 1] + 1 if one == other else max(table[i - 1, j], table[i, j - 1])
        return table[-1, -1]

    draw = np.random.default_rng(0)
    answers, references = draw.integers(0, 4, (50, 9)), draw.integers(0, 4, (50, 7))
    want = [plain(a, b) for a, b in zip(answers, references, strict=True)]
    assert longest_common(torch.from_numpy(answers), torch.from_numpy(references)).tolist() == want
    none = torch.full((1, 4), -1)
    assert longest_common(none, none).tolist() == [0]


def test_a_model_that_learned_its_rows_says_them(base, tmp_path):
    tokenizer = causal_lm.tokenizer_of(base)
    rows, others = (
        nz.Data.from_texts(write(pairs(2, 4, seed), tmp_path / f"{seed}.jsonl"), tokenizer) for seed in (1, 2)
    )
    recipe = nz.Recipe.causal_lm(base, None, epochs=40, learning_rate=1e-2, batch_size=8)
    taught = nz.TrainedModel.fit(recipe, rows).model
    context = Context(recipe.objective, torch.ones(1))
    found, outside = SIGNALS["sampled"].measure(taught, Batch(rows.x, rows.y), Batch(others.x, others.y), context)
    assert found.mean() > outside.mean() + 0.2 and found.max() <= 1 and outside.min() >= 0


def test_without_texts_to_train_on_nothing_is_relearned_elsewhere(world):
    module, rows, texts, context = world
    with pytest.raises(UsageError, match="relearned-elsewhere trains on texts of a holdout, and none was given"):
        RelearnedElsewhere().measure(module, rows, texts, replace(context, elsewhere=None))
