"""CT against its rule written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak import ct
from neuralyzer.models.regression import Regression
from neuralyzer.unlearning.method import obstacle
from tests.methods import contract
from tests.methods.contract import IMAGES, RATE, RECIPE, gradients, loss, same, world

SHAPE = (1, 5, 5)
PIXELS = replace(IMAGES, build=lambda: nn.Sequential(contract.convolving(), nn.Linear(3, 1)), objective=Regression())


def mirrored(module):
    """The module whose kernels are mirrored entry by entry."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            old = layer.weight.detach().clone()
            for o, i, r, c in np.ndindex(*old.shape):
                layer.weight.data[o, i, r, c] = old[o, i, c, r]
    return module


@pytest.mark.parametrize("recipe", [IMAGES, PIXELS])
def test_transposed_and_trained_on_with_a_rate_that_falls_by_a_half_cosine(recipe):
    task = world(recipe, shape=SHAPE)
    module = mirrored(recipe.module(3))
    module.train()
    for rate in (1.0, 0.75, 0.25):
        parts = gradients(loss(task, module, task.retain), module)
        for value, own in zip(module.parameters(), parts, strict=True):
            value.data -= 0.5 * RATE * rate * own
    same(catalogue.make("ct", rate=0.5).unlearn(task), [p.detach() for p in module.parameters()])


def test_a_network_of_transposed_kernels_sees_transposed_images_as_before():
    """A convolution with square stride and padding, its output summed over places, is blind to where they stand."""
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    task = world(replace(IMAGES, build=lambda: module), shape=SHAPE)
    before = task.model(x).detach()
    made = catalogue.make("ct", rate=0.0).unlearn(task)  # nothing is trained
    torch.testing.assert_close(made(x.transpose(-1, -2)), before)
    assert not torch.allclose(made(x), before)


def test_kernels_that_cannot_be_transposed_stay():
    module = nn.Sequential(
        nn.Conv2d(1, 2, (3, 1)), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 2).requires_grad_(False), nn.Conv2d(2, 2, 2)
    )
    assert [id(kernel) for kernel in ct.kernels(module)] == [id(module[3].weight)]
    tied = contract.TiedConvolutions()
    assert [id(kernel) for kernel in ct.kernels(tied)] == [id(tied.first.weight)]  # twice transposed were not at all


def test_contract(monkeypatch):
    method = catalogue.make("ct")
    contract.holds(monkeypatch, method, SHAPE, batch_size=5, steps=12)


def test_what_it_cannot_do_is_one_line():
    assert obstacle(catalogue.make("ct"), world(IMAGES, shape=SHAPE)) is None
    assert obstacle(catalogue.make("ct"), world()) == ct.OBSTACLE
    with pytest.raises(UsageError, match="ct transposes the square kernels of 2-D convolutions"):
        catalogue.make("ct").unlearn(world(RECIPE))
    with pytest.raises(UsageError, match="epochs of method ct is 0; it must be at least 1"):
        catalogue.make("ct", epochs=0)
