"""Boundary expanding against a network that is widened and pruned by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak import boundary_expand
from neuralyzer.unlearning.method import obstacle
from tests.methods import contract
from tests.methods.contract import RATE, RECIPE, REGRESSION, gradients, same, world


def test_the_last_layer_is_widened_trained_and_pruned():
    """A layer of four nodes in place of three, momentum SGD against class 3, its first three rows kept."""
    task = world(replace(RECIPE, optimizer=lambda ps: torch.optim.SGD(ps, RATE, momentum=0.9)))
    module = task.oracle.recipe.module(3)
    node = boundary_expand.shadow(module[2], task.seed)
    wide = nn.Linear(4, 4)
    wide.weight.data = torch.cat([module[2].weight, node.weight]).detach()
    wide.bias.data = torch.cat([module[2].bias, node.bias]).detach()
    expanded = nn.Sequential(module[0], module[1], wide)
    velocity = [torch.zeros_like(p) for p in expanded.parameters()]
    for _ in range(4):
        total = nn.functional.cross_entropy(expanded(task.forget.x), torch.full((6,), 3))
        for value, own, v in zip(expanded.parameters(), gradients(total, expanded), velocity, strict=True):
            v.mul_(0.9).add_(own)
            value.data -= 0.5 * RATE * v
    made = catalogue.make("boundary-expand", epochs=4, rate=0.5).unlearn(task)
    same(made, [*(p.detach() for p in module[0].parameters()), wide.weight.detach()[:3], wide.bias.detach()[:3]])


def test_a_single_logit_gets_a_third_class():
    """A logit ``z`` is ``(0, z)``, and with the shadow node ``(0, z, s)``."""
    task = world(replace(RECIPE, build=lambda: nn.Linear(5, 1, bias=False)), classes=2)
    module = task.oracle.recipe.module(3)
    node = boundary_expand.shadow(module, task.seed)
    assert node.bias is None
    x = task.forget.x
    with torch.no_grad():
        z, s = module(x), node(x)
        p = torch.exp(z) / (1 + torch.exp(z) + torch.exp(s))  # descent on -log p_s pushes z down by p_z
        expected = module.weight - 0.5 * RATE * (p * x).mean(0, keepdim=True)
    same(catalogue.make("boundary-expand", epochs=1, rate=0.5).unlearn(task), [expected])


def test_the_node_is_drawn_with_the_variance_of_glorot():
    node = boundary_expand.shadow(nn.Linear(4000, 7), 0)
    assert node.weight.shape == (1, 4000) and node.bias == 0
    assert float(node.weight.detach().std()) == pytest.approx((2 / 4008) ** 0.5, rel=0.05)
    assert (node.weight == boundary_expand.shadow(nn.Linear(4000, 7), 0).weight).all()
    assert (node.weight != boundary_expand.shadow(nn.Linear(4000, 7), 1).weight).any()


def test_forget_rows_leave_their_class():
    task = world()
    made = catalogue.make("boundary-expand", epochs=200, rate=1.0).unlearn(task)
    before, after = (task.objective.margin(m(task.forget.x), task.forget.y) for m in (task.model, made))
    assert made(task.forget.x).shape == (6, 3)
    assert not made._forward_hooks and not any(layer._forward_pre_hooks for layer in made.modules())
    assert float(after.mean().detach()) < float(before.mean().detach())


@pytest.mark.parametrize("shape", [(5,), (1, 5, 5)])
def test_contract(shape, monkeypatch):
    method = catalogue.make("boundary-expand")
    contract.holds(monkeypatch, method, shape, batch_size=4, steps=20)


def test_a_single_forget_row_and_batchnorm():
    task = world(replace(RECIPE, build=contract.frozen))
    contract.repeats(
        catalogue.make("boundary-expand"), type(task)(task.oracle, type(task.request)(rows=[task.oracle.data.ids[0]]))
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(1)),
        lambda: nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Conv1d(5, 3, 1), nn.Flatten()),
    ],
)
def test_what_it_cannot_do_is_one_line(build):
    task = world(replace(RECIPE, build=build))
    assert obstacle(catalogue.make("boundary-expand"), task) == boundary_expand.OBSTACLE
    with pytest.raises(UsageError, match="a last linear layer that gives the logits"):
        catalogue.make("boundary-expand").unlearn(task)
    assert obstacle(catalogue.make("boundary-expand"), world()) is None
    assert "works on classes" in obstacle(catalogue.make("boundary-expand"), world(REGRESSION))
    with pytest.raises(UsageError, match="epochs of method boundary-expand is 0; it must be at least 1"):
        catalogue.make("boundary-expand", epochs=0)
