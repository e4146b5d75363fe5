"""Stacked members are what the plain loop makes of the same rows and seeds."""

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.progress import Silent
from neuralyzer.references.training import processes
from neuralyzer.references.training.stacked import stacks, train_stack
from tests.models.cases import Double

GENERATOR = np.random.default_rng(0)
DATA = Data.from_arrays(GENERATOR.normal(size=(60, 6)), GENERATOR.integers(0, 4, 60))
IMAGES = Data.from_arrays(GENERATOR.normal(size=(60, 2, 6, 6)), GENERATOR.integers(0, 4, 60))
TARGETS = Data.from_arrays(GENERATOR.normal(size=(60, 6)), GENERATOR.normal(size=(60, 4)))
# 25 to 32 rows take four steps of 8: members of a stack may hold different numbers of rows
KEPT = [np.sort(GENERATOR.choice(60, size, replace=False)) for size in (32, 27, 25, 29)]
SEEDS = [3, 14, 15, 92]


def mlp():
    return nn.Sequential(Double(), nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).double()


def frozen():
    module = mlp()
    module[1].weight.requires_grad_(False)
    return module


def tied():
    module = nn.Sequential(Double(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4)).double()
    module[3].weight = module[1].weight
    return module


def relu():
    return nn.Sequential(Double(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)).double()


def conv():
    return nn.Sequential(
        Double(), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.LayerNorm(48), nn.Linear(48, 4)
    ).double()


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01)


def adam(parameters):
    return torch.optim.Adam(parameters, 0.01, weight_decay=0.01, amsgrad=True)


def adamw(parameters):
    return torch.optim.AdamW(parameters, 0.01, fused=True)


def rmsprop(parameters):
    return torch.optim.RMSprop(parameters, 0.01, momentum=0.5, centered=True)


def cosine(optimizer, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def check(recipe, data=DATA):
    stacked = train_stack(recipe, data, KEPT, SEEDS, Silent())
    for module, rows, seed in zip(stacked, KEPT, SEEDS, strict=True):
        alone = training.train(recipe, data.select(rows), seed)
        start = recipe.module(seed).state_dict()
        assert not module.training
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(module.state_dict()[name], value, rtol=0, atol=1e-10)
        assert any((alone.state_dict()[name] - value).abs().max() > 1e-3 for name, value in start.items())
    return stacked


@pytest.mark.parametrize("optimizer", [sgd, adam, adamw, rmsprop])
def test_optimizers(optimizer):
    check(Recipe(build=mlp, optimizer=optimizer, epochs=5, batch_size=8))


def test_a_schedule():
    check(Recipe(build=mlp, optimizer=sgd, schedule=cosine, epochs=5, batch_size=8))


@pytest.mark.parametrize("clip", [0.02, 0.3])
def test_each_member_is_clipped_by_itself(clip):
    check(Recipe(build=mlp, optimizer=sgd, clip=clip, epochs=5, batch_size=8))


def test_convolutions_and_norms():
    check(Recipe(build=conv, optimizer=adamw, epochs=3, batch_size=8), IMAGES)


def test_regression():
    check(Recipe(build=mlp, objective=Regression(), optimizer=adam, epochs=3, batch_size=8), TARGETS)


def test_frozen_parameters_stay_as_they_were_drawn():
    recipe = Recipe(build=frozen, optimizer=adamw, epochs=3, batch_size=8)
    for module, seed in zip(check(recipe), SEEDS, strict=True):
        assert torch.equal(module[1].weight, recipe.module(seed)[1].weight)
        assert not module[1].weight.requires_grad


def test_tied_parameters_stay_tied():
    for module in check(Recipe(build=tied, optimizer=sgd, epochs=3, batch_size=8)):
        assert module[3].weight is module[1].weight


def test_a_member_does_not_depend_on_its_neighbours():
    recipe = Recipe(build=mlp, optimizer=adamw, epochs=3, batch_size=8)
    whole = train_stack(recipe, DATA, KEPT, SEEDS, Silent())
    (alone,) = train_stack(recipe, DATA, KEPT[2:3], SEEDS[2:3], Silent())
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(whole[2].state_dict()[name], value, rtol=0, atol=1e-12)


class Counting(Silent):
    def __init__(self):
        self.count = 0

    def advance(self, amount=1):
        self.count += amount


def test_progress_counts_member_epochs():
    counting = Counting()
    train_stack(Recipe(build=mlp, epochs=3, batch_size=8), DATA, KEPT, SEEDS, counting)
    assert counting.count == 3 * 4


def test_a_member_that_diverges():
    recipe = Recipe(build=relu, optimizer=lambda ps: torch.optim.SGD(ps, 1e200), epochs=3, batch_size=8)
    with pytest.raises(NotFiniteError, match="after 4 steps"):
        train_stack(recipe, DATA, KEPT, SEEDS, Silent())


def test_only_members_with_equally_many_steps_share_a_stack():
    recipe = Recipe(build=mlp, batch_size=8)
    kept = [32, 33, 25, 40, 24, 31, 39]
    assert stacks(recipe, kept, 2) == [[4], [0, 2], [5], [1, 3], [6]]
    assert stacks(recipe, kept, 9) == [[4], [0, 2, 5], [1, 3, 6]]


def single(build):
    """The like in float32."""
    return lambda: nn.Sequential(*[layer for layer in build() if not isinstance(layer, Double)]).float()


@pytest.mark.parametrize("build", [mlp, frozen, tied], ids=["plain", "frozen", "tied"])
def test_backends_agree_after_20_steps_of_float32(build):
    recipe = Recipe(build=single(build), optimizer=lambda ps: torch.optim.AdamW(ps, 0.01), epochs=5, batch_size=8)
    stacked = train_stack(recipe, DATA, KEPT, SEEDS, Silent())
    parted = processes.train_each(recipe, DATA, KEPT, SEEDS, 2)
    for module, other, rows, seed in zip(stacked, parted, KEPT, SEEDS, strict=True):
        alone = training.train(recipe, DATA.select(rows), seed)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(module.state_dict()[name], value, rtol=0, atol=1e-4)
            torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("build", [mlp, frozen, tied], ids=["plain", "frozen", "tied"])
def test_backends_agree_after_a_whole_training_in_float64(build):
    recipe = Recipe(build=build, optimizer=adamw, epochs=60, batch_size=8)
    stacked = train_stack(recipe, DATA, KEPT, SEEDS, Silent())
    for module, other in zip(stacked, processes.train_each(recipe, DATA, KEPT, SEEDS, 2), strict=True):
        for name, value in other.state_dict().items():
            torch.testing.assert_close(module.state_dict()[name], value, rtol=0, atol=1e-8)


class Warming(nn.Module):
    """Counts its steps, as no list of operations can."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += 1
        return x * min(1.0, self.steps / 10)


def test_a_module_that_counts_its_steps_is_not_written_down():
    def build():
        return nn.Sequential(Double(), Warming(), nn.Linear(6, 4)).double()

    recipe = Recipe(build=build, optimizer=sgd, epochs=3, batch_size=8)
    (module,) = train_stack(recipe, DATA, KEPT[:1], SEEDS[:1], Silent())
    alone = training.train(recipe, DATA.select(KEPT[0]), SEEDS[0])
    assert alone[1].steps == 12
    torch.testing.assert_close(module[2].weight, alone[2].weight, rtol=0, atol=1e-10)
