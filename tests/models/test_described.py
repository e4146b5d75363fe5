"""What a recipe's digest covers of layers, groups of parameters and the schedule."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from neuralyzer.models.recipe import Recipe

SGD = torch.optim.SGD


def net(rate=0.1, momentum=0.1, padding=None, scale=1.0):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = scale

        def forward(self, x):
            return self.scale * x

    return nn.Sequential(
        nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=momentum), nn.Dropout(rate), Scaled(), nn.Linear(3, 2)
    )


def groups(first=0.1, second=0.2, split=2, decay=0.0):
    def make(parameters):
        own = list(parameters)
        return SGD(
            [{"params": own[:split], "lr": first}, {"params": own[split:], "lr": second, "weight_decay": decay}], lr=0.5
        )

    return make


def frozen():
    module = net()
    module[0].requires_grad_(False)
    return module


SCHEDULES = torch.optim.lr_scheduler
PAIRS = {
    "dropout": ({"build": net}, {"build": lambda: net(0.2)}),
    "momentum of a norm": ({"build": net}, {"build": lambda: net(momentum=0.2)}),
    "a setting of one's own layer": ({"build": net}, {"build": lambda: net(scale=2.0)}),
    "an activation": ({"build": lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU())},
                      {"build": lambda: nn.Sequential(nn.Linear(4, 2), nn.Tanh())}),
    "frozen layers": ({"build": net}, {"build": frozen}),
    "a group's rate": ({"optimizer": groups()}, {"optimizer": groups(second=0.3)}),
    "a group's decay": ({"optimizer": groups()}, {"optimizer": groups(decay=0.1)}),
    "who is in a group": ({"optimizer": groups()}, {"optimizer": groups(split=3)}),
    "one group or two": ({"optimizer": groups(0.5, 0.5)}, {"optimizer": lambda p: SGD(p, 0.5)}),
    "a schedule's class": ({"schedule": lambda o, n: SCHEDULES.LinearLR(o)},
                           {"schedule": SCHEDULES.CosineAnnealingLR}),
    "a schedule's setting": ({"schedule": lambda o, n: SCHEDULES.StepLR(o, 5)},
                             {"schedule": lambda o, n: SCHEDULES.StepLR(o, 6)}),
    "a schedule's function": ({"schedule": lambda o, n: SCHEDULES.LambdaLR(o, lambda k: 1 / (1 + k))},
                              {"schedule": lambda o, n: SCHEDULES.LambdaLR(o, lambda k: 1 / (2 + k))}),
    "a plateau's patience": ({"schedule": lambda o, n: SCHEDULES.ReduceLROnPlateau(o, patience=3)},
                             {"schedule": lambda o, n: SCHEDULES.ReduceLROnPlateau(o, patience=4)}),
}  # fmt: skip


@pytest.mark.parametrize("what", PAIRS)
def test_the_digest_tells_apart(what):
    one, other = (replace(Recipe(net, optimizer=lambda p: SGD(p, 0.1)), **change) for change in PAIRS[what])
    assert one.digest != other.digest and one.digest == replace(one, seed=5).digest
    assert not one.known_as(other.digest)


@pytest.mark.parametrize("what", PAIRS)
def test_the_same_is_the_same(what):
    one, again = (Recipe(**({"build": net} | PAIRS[what][0])) for _ in range(2))
    assert one.digest == again.digest and one.known_as(again.digest)


def test_it_is_known_as_early_workspaces_wrote_it():
    """The digest of this recipe as version 0.1 gave it."""
    recipe = Recipe(lambda: nn.Linear(4, 2), optimizer=lambda p: SGD(p, 0.1), epochs=3, batch_size=16)
    assert recipe.earlier_digest == EARLY != recipe.digest and recipe.known_as(EARLY)
    assert not recipe.known_as(None) and not recipe.known_as("")


EARLY = "11a49d74fc02354cc2541d541c57566ff8f4aacaba5c1b36b6157eb5f7b1939f"
