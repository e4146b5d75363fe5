"""MSG against its rule written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak import msg
from neuralyzer.unlearning.method import obstacle
from tests.methods import contract
from tests.methods.contract import IMAGES, RATE, RECIPE, REGRESSION, gradients, loss, same, world


def drawn(task):
    """As many retained rows as forget rows, drawn by the seed."""
    order = np.random.default_rng(task.seed).permutation(len(task.retain))
    return task.retain.select(np.sort(order[: len(task.forget)]))


def expected_masks(task, share):
    rows = zip(gradients(loss(task, task.model, drawn(task)), task.model),
               gradients(loss(task, task.model, task.forget), task.model), strict=True)  # fmt: skip
    found = []
    for retained, forgotten in rows:
        apart = (retained - forgotten).abs()
        count = int(np.floor(share * apart.numel() + 0.5))
        found.append(apart <= apart.flatten().sort().values[count - 1])
    return found


@pytest.mark.parametrize("recipe", [RECIPE, REGRESSION])
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_the_weights_pulled_most_alike_are_chosen_in_each_layer(recipe, share):
    task = world(recipe)
    masks = expected_masks(task, share)
    chosen = msg.smallest(task, share)
    assert list(chosen) == ["0.weight", "2.weight"]  # no bias
    assert (chosen["0.weight"] == masks[0]).all() and (chosen["2.weight"] == masks[2]).all()


def test_convolutions_alone_are_reset_where_there_are_any():
    task = world(IMAGES, shape=(1, 5, 5))
    masks = expected_masks(task, 0.3)
    chosen = msg.smallest(task, 0.3)
    assert list(chosen) == ["0.weight", "3.weight"]
    assert (chosen["0.weight"] == masks[0]).all() and (chosen["3.weight"] == masks[3]).all()
    assert chosen["0.weight"].sum() == round(0.3 * 27)


def test_what_is_drawn_anew_has_the_variance_of_he_and_nothing_else_moves():
    module = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Linear(2, 2))
    before = [p.detach().clone() for p in module.parameters()]
    mask = torch.rand(64, 8, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    msg.redraw(module, {"0.weight": mask}, 0)
    after = list(module.parameters())
    assert (after[0][~mask] == before[0][~mask]).all() and (after[0][mask] != before[0][mask]).all()
    assert all((a == b).all() for a, b in zip(after[1:], before[1:], strict=True))
    spread = after[0].detach()[mask].std()  # fan out is 64 * 9; 2304 draws have it to 1.5 %
    assert float(spread) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.06)


@pytest.mark.parametrize(("epochs", "rates"), [(5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]), (1, [1]), (2, [1, 0.5])])
def test_the_rate_rises_and_falls(epochs, rates):
    assert [msg.triangle(turn, epochs) for turn in range(epochs)] == pytest.approx(rates)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_passes_are_sgd_with_masked_gradients_and_the_rate_of_each_pass(momentum):
    """One batch a pass: momentum SGD on gradients times 1 where reset and ``slow`` elsewhere, written out."""
    recipe = replace(IMAGES, optimizer=lambda ps: torch.optim.SGD(ps, RATE, momentum=momentum))
    task = world(recipe, shape=(1, 5, 5))
    method = catalogue.make("msg", share=0.4, slow=0.25, epochs=3, rate=0.5)
    chosen = msg.smallest(task, 0.4)
    module = task.oracle.recipe.module(3)
    msg.redraw(module, chosen, task.seed)
    module.train()
    scale = [
        torch.where(chosen[n], 1.0, 0.25) if n in chosen else torch.tensor(1.0) for n, _ in module.named_parameters()
    ]
    velocity = [torch.zeros_like(p) for p in module.parameters()]
    for rate in (0.5, 1.0, 0.5):
        for value, own, share, v in zip(
            module.parameters(), gradients(loss(task, module, task.retain), module), scale, velocity, strict=True
        ):
            v.mul_(momentum).add_(share * own)
            value.data -= 0.5 * RATE * rate * v
    same(method.unlearn(task), list(module.parameters()))


def test_under_adam_the_other_weights_go_slowly_too():
    recipe = replace(RECIPE, optimizer=lambda ps: torch.optim.Adam(ps, 0.01))
    task = world(recipe)
    made = catalogue.make("msg", epochs=1, slow=0.1).unlearn(task)
    mask = msg.smallest(task, 0.3)["0.weight"]
    moved = (made[0].weight - task.model[0].weight).abs()[~mask]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.001), rtol=1e-3, atol=0)  # a first step is the rate


@pytest.mark.parametrize("shape", [(5,), (1, 5, 5)])
def test_contract(shape, monkeypatch):
    method = catalogue.make("msg", epochs=2)
    contract.holds(monkeypatch, method, shape, batch_size=5, steps=8)


def test_states_are_the_passes():
    task = world()
    method = catalogue.make("msg", epochs=3)
    found = list(method.states(task, contract.Heard()))
    same(method.unlearn(task), [p.detach() for p in found[-1].parameters()], 0)
    assert len(found) == 3 and not (found[0][0].weight == found[1][0].weight).all()


def test_what_it_cannot_do_is_one_line():
    task = world(replace(RECIPE, build=lambda: nn.Sequential(nn.Linear(5, 3).requires_grad_(False), nn.LayerNorm(3))))
    assert obstacle(catalogue.make("msg"), world()) is None
    assert obstacle(catalogue.make("msg"), task) == "msg resets convolutions or linear layers, and none here is trained"
    with pytest.raises(UsageError, match="none here is trained"):
        catalogue.make("msg").unlearn(task)
    with pytest.raises(UsageError, match=r"share of method msg is 1\.5; it must be from 0 to 1"):
        catalogue.make("msg", share=1.5)
    with pytest.raises(UsageError, match="epochs of method msg is 0; it must be at least 1"):
        catalogue.make("msg", epochs=0)
