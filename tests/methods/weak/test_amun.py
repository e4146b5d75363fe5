"""AMUN against its attack and its training written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak import amun
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.unlearning import adversarial
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods import contract
from tests.methods.contract import FORGOTTEN, RATE, RECIPE, REGRESSION, ROWS, gradients, loss, same, world

WIDE = torch.full((5,), -1e9), torch.full((5,), 1e9)


def linear(seed=0, classes=2):
    torch.manual_seed(seed)
    return nn.Linear(5, classes)


def distance_reached(apart, radius, steps):
    """How far a row goes whose class changes at distance ``apart`` along a straight line."""
    at = 0.0
    while True:
        for _ in range(steps):
            if at > apart:
                return at
            at = min(at + radius / 10, radius)
        if at > apart:
            return at
        radius *= 2


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_on_a_linear_model_the_nearest_point_beyond_the_boundary(steps):
    """Two classes by a linear model: the distance to the boundary is ``|z1 - z0| / |w1 - w0|``, the way is ``w1 - w0``."""
    with torch.random.fork_rng():
        module = linear()
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = module(x).argmax(1)
        z = module(x)
    way = (module.weight[1] - module.weight[0]).detach()
    apart = (z[:, 1] - z[:, 0]).abs() / way.norm()
    moved, chosen = adversarial.nearest(module, RECIPE.objective, x, y, 0.013, steps, WIDE)
    assert (chosen == 1 - y).all() and (module(moved).argmax(1) == chosen).all()
    gone = moved - x
    torch.testing.assert_close(gone / gone.norm(dim=1, keepdim=True), torch.where(y[:, None] == 0, way, -way) / way.norm(),
                               rtol=0, atol=1e-4)  # fmt: skip
    expected = [distance_reached(float(own), 0.013, steps) for own in apart]
    np.testing.assert_allclose(gone.norm(dim=1).numpy(), expected, rtol=1e-3)


def test_a_step_is_up_the_cross_entropy():
    """Three classes, one step of a tenth of the radius: the direction by torch's own cross-entropy, a row at a time."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    y = module(x).argmax(1)
    for row, own in zip(x, y, strict=True):
        at = row.clone().requires_grad_()
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(module(at[None]), own[None]), at)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(adversarial, "DOUBLINGS", 1)
            moved, _ = adversarial.nearest(module, RECIPE.objective, row[None], own[None], 1e-3, 1, WIDE)
        torch.testing.assert_close((moved[0] - row) / 1e-4, slope / slope.norm(), rtol=0, atol=2e-2)


def test_a_sure_row_is_moved_too():
    """Logits 200 apart: cross-entropy is 0 there in single precision, and so is its gradient."""
    module = nn.Linear(1, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[100.0], [-100.0]]))
        module.bias.zero_()
    x, y = torch.tensor([[1.0]]), torch.tensor([0])
    moved, chosen = adversarial.nearest(
        module, RECIPE.objective, x, y, 0.01, 50, (torch.tensor([-9.0]), torch.tensor([9.0]))
    )
    assert chosen == 1 and -0.2 < float(moved) < 0


def test_rows_out_of_reach_take_their_second_choice_and_wrong_ones_stand_for_themselves():
    with torch.random.fork_rng():
        module = linear(0, 3)
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    said = module(x).argmax(1)
    order = module(x).argsort(1)
    moved, chosen = adversarial.nearest(module, RECIPE.objective, x, said, 0.01, 2, (x, x))  # no room to move
    assert (moved == x).all() and (chosen == order[:, 1]).all()
    moved, chosen = adversarial.nearest(module, RECIPE.objective, x, (said + 1) % 3, 0.01, 2, WIDE)
    assert (moved == x).all() and (chosen == said).all()


def test_examples_stay_within_the_range_of_the_rows():
    task = world(rows=200)
    low, high, distance = adversarial.extent(task.oracle.data)
    every = task.oracle.data.x
    assert (low == every.min(0).values).all() and (high == every.max(0).values).all()
    expected = (every - every.mean(0)).square().sum(1).mean().sqrt()
    assert distance == pytest.approx(float(expected), rel=1e-5)
    moved = amun.adversaries(task, 0.001, 50, Silent())
    assert ((moved.x >= low) & (moved.x <= high)).all()
    assert (moved.y != task.forget.y).all() and (moved.ids == task.forget.ids).all()


@pytest.mark.parametrize("retained", [True, False])
def test_training_is_on_retained_rows_and_examples(retained):
    task = world()
    against = amun.adversaries(task, 0.001, 50, Silent())
    module = task.oracle.recipe.module(3)
    share = FORGOTTEN / ROWS if retained else 1.0
    for rate in (1.0, 1.0, 0.1):
        total = share * loss(task, module, against) + (1 - share) * loss(task, module, task.retain)
        for value, own in zip(module.parameters(), gradients(total, module), strict=True):
            value.data -= 0.5 * RATE * rate * own
    made = catalogue.make("amun", epochs=3, fall=2, retained=retained).unlearn(task)
    same(made, [p.detach() for p in module.parameters()])


def test_examples_are_not_augmented():
    seen = []

    def augment(x, generator):
        seen.append(x)
        return torch.zeros_like(x)

    task = world(replace(RECIPE, augment=augment))
    catalogue.make("amun", epochs=1).unlearn(task)
    kept = torch.cat(seen)
    assert len(kept) == ROWS - FORGOTTEN
    assert sorted(map(tuple, kept.tolist())) == sorted(map(tuple, task.retain.x.tolist()))


@pytest.mark.parametrize("shape", [(5,), (1, 5, 5)])
def test_contract(shape, monkeypatch):
    method = catalogue.make("amun", epochs=2)
    contract.holds(monkeypatch, method, shape, batch_size=5, steps=10)


def test_what_it_cannot_do_is_one_line():
    assert obstacle(catalogue.make("amun"), world()) is None
    assert "works on classes" in obstacle(catalogue.make("amun"), world(REGRESSION))
    words = Data.from_arrays(np.arange(24).reshape(6, 4) % 9, np.arange(6) % 3, ["a", "b"] * 3)
    recipe = replace(RECIPE, build=lambda: nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 3)))
    task = Task(TrainedModel(recipe.module(), recipe, words, None), ErasureRequest(subjects=["a"]))
    assert obstacle(catalogue.make("amun"), task) == amun.OBSTACLE
    with pytest.raises(UsageError, match="these rows hold whole numbers"):
        catalogue.make("amun").unlearn(task)
    with pytest.raises(UsageError, match="steps of method amun is 0; it must be at least 1"):
        catalogue.make("amun", steps=0)
