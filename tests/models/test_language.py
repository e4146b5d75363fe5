"""The objective of tokens: its logits, its curvature and its drawn gradients, against transformers and autograd."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import neuralyzer as nz
from neuralyzer.influence import curvature, ekfac, removal
from neuralyzer.influence.curvature import GaussNewton, Parameters, mean_gradient, plain_attention
from neuralyzer.models import language, reading
from neuralyzer.models.kinds import bases, causal_lm
from neuralyzer.models.objective import curved
from tests.models.language_worlds import made_base, pairs, write


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def world(request, tmp_path_factory):
    """A model with adapters in float64, and rows of different lengths."""
    place = tmp_path_factory.mktemp(request.param)
    base = made_base(place / "base", request.param, steps=10)
    data = nz.Data.from_texts(write(pairs(3, 3), place / "rows.jsonl"), causal_lm.tokenizer_of(base), subject="author")
    recipe = nz.Recipe.causal_lm(base, {"r": 2, "alpha": 4})
    module = recipe.module().double()
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.requires_grad:
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
    yield module, recipe.objective, data
    bases.frozen.cache_clear()  # its base was shared, and is float64 now


def logits_of(module, x):
    return module.model(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).logits[:, :-1]


def test_the_predictions_are_the_logits_of_the_target_tokens(world):
    module, objective, data = world
    x, y = data.gather(np.arange(len(data)))
    with torch.no_grad():
        got = curved(objective).outputs(module, x)
        want = logits_of(module, x)[x["target_mask"][:, 1:].bool()].float()
    assert len(got) == int(y.sum())
    torch.testing.assert_close(got, want)


def test_a_product_with_the_curvature_is_the_hessian_of_the_divergence_from_itself(world):
    """The Hessian of ``KL(p_theta0, p_theta)`` at ``theta0`` is the Gauss-Newton matrix of softmax cross-entropy."""
    module, objective, data = world
    parameters = Parameters(module)
    vector = torch.randn(sum(parameters.sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaves = [value for value in module.parameters() if value.requires_grad]
    x, _ = data.gather(np.arange(len(data)))
    wanted = x["target_mask"][:, 1:].double()
    with plain_attention():
        log_p = logits_of(module, x).log_softmax(-1)
        divergence = (F.kl_div(log_p, log_p.detach(), reduction="none", log_target=True).sum(-1) * wanted).sum(1)
        slopes = torch.autograd.grad((divergence / wanted.sum(1)).mean(), leaves, create_graph=True)
        inner = sum((s * v).sum() for s, v in zip(slopes, parameters.tree(vector).values(), strict=True))
        want = torch.cat([part.reshape(-1) for part in torch.autograd.grad(inner, leaves)])
    got = GaussNewton(module, objective, data) @ vector
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6 * float(want.abs().max()))


def test_a_product_by_difference_is_nearly_the_exact_one(world):
    module, objective, data = world
    module = copy.deepcopy(module).float()
    parameters = Parameters(module)
    for seed in range(3):
        vector = torch.randn(sum(parameters.sizes), generator=torch.Generator().manual_seed(seed))
        exact, near = (GaussNewton(module, objective, data, difference) @ vector for difference in (False, True))
        assert float((exact - near).norm() / exact.norm()) < 0.02
        assert float((exact - near).norm()) > 0


def test_few_tokens_at_once_change_no_product(world, monkeypatch):
    module, objective, data = world
    whole, vector = GaussNewton(module, objective, data), None
    vector = torch.randn(sum(whole.parameters.sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr(language, "LOGITS", 50 * 400)
    few = GaussNewton(module, objective, data)
    assert few.tokens < curvature.TOKENS == whole.tokens
    torch.testing.assert_close(few @ vector, whole @ vector, rtol=1e-5, atol=1e-8)


def test_drawn_gradients_of_a_row_have_its_curvature_as_second_moment():
    draws, y = 40_000, torch.tensor([2.0, 1.0])
    logits = torch.tensor([[0.3, -1.0, 0.5], [3.0, 0.0, -2.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    tokens, generator = language.Tokens(), torch.Generator().manual_seed(0)
    many = logits.repeat(draws, 1)
    drawn = tokens.drawn_gradients(many, y.repeat(draws), generator).reshape(draws, 9)
    want = torch.zeros(9, 9, dtype=torch.float64)
    for place, (row, share) in enumerate(zip(logits, (0.5, 0.5, 1.0), strict=True)):
        p, block = row.softmax(0), slice(3 * place, 3 * place + 3)
        want[block, block] = share * (torch.diag(p) - torch.outer(p, p))
    torch.testing.assert_close(drawn.T @ drawn / draws, want, rtol=0, atol=0.01)  # tokens of a row are uncorrelated
    eye = torch.eye(3, dtype=torch.float64)
    by_column = [tokens.curvature(logits, y, column.expand(3, 3)) for column in eye]
    for place in range(3):
        block = slice(3 * place, 3 * place + 3)
        torch.testing.assert_close(torch.stack([own[place] for own in by_column], 1), want[block, block])


def test_factors_of_adapters_are_the_drawn_gradients_squares_in_their_basis(world):
    module, objective, data = world
    factors, parameters = ekfac.ekfac(module, objective, data, seed=1), Parameters(module)
    assert {block.weight for block in factors.blocks} == set(parameters.shapes)
    block = factors.blocks[3]
    weight = dict(module.named_parameters())[block.weight]
    x, y = data.gather(np.arange(len(data)))
    logits = logits_of(module, x)[x["target_mask"][:, 1:].bool()]
    drawn = language.Tokens().drawn_gradients(logits.detach().float(), y, torch.Generator().manual_seed(1))
    of_row = torch.repeat_interleave(torch.arange(len(y)), y.long())
    squares = torch.zeros_like(block.values)
    for row in range(len(data)):
        total = (logits * drawn)[of_row == row].sum()
        (slope,) = torch.autograd.grad(total, weight, retain_graph=True)
        squares += block.to_eigenbasis(slope).square()
    torch.testing.assert_close(block.values, squares / len(data), rtol=1e-3, atol=1e-6 * float(squares.max()))


def test_a_rows_readings_do_not_depend_on_how_many_are_read_at_once(world):
    module, objective, data = world
    whole = reading.outputs(module, objective, data.x)
    one_by_one = torch.cat([reading.outputs(module, objective, data.select([k]).x) for k in range(len(data))])
    torch.testing.assert_close(one_by_one, whole, rtol=1e-5, atol=1e-5)


def test_texts_are_matched_by_their_margins():
    objective = language.CausalLM()
    outputs = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = objective.target(outputs, torch.ones(5))
    torch.testing.assert_close(target[:, 0], outputs[:, :, language.MARGIN].mean(0))
    own, tangents = outputs[0].requires_grad_(), outputs[1].detach()

    def mismatched(readings):
        return 0.05 * (readings[:, language.MARGIN] - target[:, 0].detach()).square().sum()

    torch.testing.assert_close(objective.mismatch(own, target).detach(), torch.autograd.grad(mismatched(own), own)[0])
    hessian = torch.autograd.functional.hvp(mismatched, own.detach(), tangents)[1]
    torch.testing.assert_close(objective.halfway(own, target, tangents).detach(), hessian)
    torch.testing.assert_close(objective.surer(target, torch.ones(5), torch.full((5,), 2.0))[:, 0], target[:, 0] + 2)
    less = objective.without(own, target + 3, target, 0.5)
    torch.testing.assert_close(less[:, 0], own[:, language.MARGIN] - 1.5)


def test_the_removal_update_of_few_texts_solves_their_system(world):
    """With as many products as it takes, against a dense solve; the factors only change how soon."""
    module, objective, data = world
    module = copy.deepcopy(module)
    for name, value in module.named_parameters():
        value.requires_grad_(value.requires_grad and "layers.0.self_attn.q" in name or "h.0.attn.c_attn.lora" in name)
    parameters, sample, forget = Parameters(module), data.select(np.arange(6)), data.select(np.arange(6, 9))
    factors = ekfac.ekfac(module, objective, data)
    size, damping = sum(parameters.sizes), 0.02 * factors.largest
    exact = GaussNewton(module, objective, sample)
    dense = torch.stack([exact @ column for column in torch.eye(size, dtype=torch.float64)])
    right = mean_gradient(module, objective, forget) * (3 / 6)
    want = torch.linalg.solve(dense + damping * torch.eye(size, dtype=torch.float64), right)
    found = removal.removal_update(module, objective, sample, forget, 6, factors, damping, 60)
    assert float((found - want).norm() / want.norm()) < 0.05
    few = removal.removal_update(module, objective, sample, forget, 6, factors, damping, 1)
    assert float((few - want).norm() / want.norm()) > 0.1
