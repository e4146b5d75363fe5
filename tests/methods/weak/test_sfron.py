"""SFR-on against its paper's alternation written out."""

import math
from dataclasses import replace

import pytest
import torch

from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak import sfron
from neuralyzer.models.regression import Regression
from neuralyzer.unlearning.method import obstacle
from tests.methods import contract
from tests.methods.contract import RATE, RECIPE, REGRESSION, gradients, same, world


def fisher(task, data):
    """Mean squared gradient of each row, one backward pass a row."""
    rows = []
    for x, y in zip(data.x, data.y, strict=True):
        total = task.objective.losses(task.objective.outputs(task.model, x[None]), y[None]).sum()
        rows.append([own.square() for own in gradients(total, task.model)])
    return [torch.stack(own).mean(0) for own in zip(*rows, strict=True)]


def losses(task, module, data):
    return task.objective.losses(task.objective.outputs(module, data.x), data.y)


@pytest.mark.parametrize("threshold", [0.5, 1.0, 1.2])
def test_the_mask_is_where_the_forget_rows_matter_more(threshold):
    task = world()
    found = sfron.salient(task, threshold).values()
    ratios = [f / r for f, r in zip(fisher(task, task.forget), fisher(task, task.retain), strict=True)]
    for own, ratio in zip(found, ratios, strict=True):
        assert (own == (ratio >= threshold)).all()
    share = torch.cat([own.flatten() for own in found]).double().mean()
    assert 0 < share < 1


def test_adaptive_coefficients_by_hand():
    """Losses 1, 4 and 16 with exponent 1/2: coefficients 4/7, 2/7 and 1/7; the sum is 4/7 + 8/7 + 16/7 = 4."""
    values = torch.tensor([1.0, 4.0, 16.0], requires_grad=True)
    total = sfron.adaptive(values, 0.5)
    assert float(total.detach()) == pytest.approx(4.0)
    (slope,) = torch.autograd.grad(total, values)  # the coefficients are held fixed
    torch.testing.assert_close(slope, torch.tensor([4 / 7, 2 / 7, 1 / 7]))


def test_a_loss_of_nothing_does_not_outweigh_the_batch():
    values = torch.tensor([0.0, 1.0], requires_grad=True)
    (slope,) = torch.autograd.grad(sfron.adaptive(values, 0.5), values)
    assert slope[1] == pytest.approx(1 / (1 + 1e-7**-0.5), rel=1e-4)


@pytest.mark.parametrize("recipe", [RECIPE, REGRESSION])
@pytest.mark.parametrize(("norm", "beta", "momentum"), [(1e9, 1.0, 0.0), (0.05, 0.6, 0.0), (7.0, 1.0, 0.9)])
def test_alternation_as_the_paper_has_it(recipe, norm, beta, momentum):
    """Whole batches, five passes: fast steps before the first, third and fifth step on retained rows."""
    rate = 0.01 if isinstance(recipe.objective, Regression) else RATE
    task = world(replace(recipe, optimizer=lambda ps: torch.optim.SGD(ps, rate, momentum=momentum)))
    mask = [f >= r for f, r in zip(fisher(task, task.forget), fisher(task, task.retain), strict=True)]
    module = task.oracle.recipe.module(3)
    velocity = [torch.zeros_like(p) for p in module.parameters()]

    def step(parts, at):
        for value, own, v in zip(module.parameters(), parts, velocity, strict=True):
            v.mul_(momentum).add_(own)
            value.data -= 0.5 * rate * at * v

    clipped = []
    for k in range(5):
        at = 0.5 * (1 + math.cos(math.pi * k / 5))
        slow = [p.detach().clone() for p in module.parameters()]
        if k % 2 == 0:
            own = losses(task, module, task.forget)
            e = own.detach() ** -0.5 / (own.detach() ** -0.5).sum()
            parts = [m * g for m, g in zip(mask, gradients(-2.0 * at * (e * own).sum(), module), strict=True)]
            size = float(torch.cat([g.flatten() for g in parts]).norm())
            clipped.append(size > norm)
            step([g * min(1.0, norm / size) for g in parts], at)
        step(gradients(losses(task, module, task.retain).mean(), module), at)
        for value, before in zip(module.parameters(), slow, strict=True):
            value.data = before + beta * (value.data - before)
    method = catalogue.make("sfron", alpha=2.0, every=2, norm=norm, beta=beta, epochs=5, rate=0.5)
    same(method.unlearn(task), [p.detach() for p in module.parameters()], 3e-6)
    assert any(clipped) == (norm < 1)


def test_what_is_outside_the_mask_takes_no_fast_step():
    task = world()
    mask = [own for own in sfron.salient(task, 1.0).values()]
    course = sfron._AlternatingSteps(catalogue.make("sfron"), task, sfron.salient(task, 1.0))
    course.module.train()
    found = gradients(next(course.losses(0)), course.module)
    assert all((own[~m] == 0).all() and (own[m] != 0).all() for own, m in zip(found, mask, strict=True))


def test_a_single_forget_row_and_batchnorm():
    recipe = replace(RECIPE, build=contract.frozen, batch_size=1 + 5)
    task = world(recipe)
    alone = type(task)(task.oracle, type(task.request)(rows=[task.oracle.data.ids[0]]))
    contract.repeats(catalogue.make("sfron", epochs=1), alone)


@pytest.mark.parametrize("shape", [(5,), (1, 5, 5)])
def test_contract(shape, monkeypatch):
    method = catalogue.make("sfron", epochs=2)
    contract.holds(monkeypatch, method, shape, batch_size=5, steps=10)


def test_what_it_cannot_do_is_one_line():
    assert obstacle(catalogue.make("sfron"), world()) is obstacle(catalogue.make("sfron"), world(REGRESSION)) is None
    with pytest.raises(UsageError, match="beta of method sfron is 2; it must be from 0 to 1"):
        catalogue.make("sfron", beta=2)
    with pytest.raises(UsageError, match="every of method sfron is 0; it must be at least 1"):
        catalogue.make("sfron", every=0)
