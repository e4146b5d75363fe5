"""References of recipes that start from pretrained weights, or that augment what they are trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import neuralyzer as nz
from neuralyzer.methods import catalogue
from neuralyzer.models import training, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from tests.references import world


@pytest.fixture
def base(tmp_path):
    return weights.save(world.RECIPE.module(77), tmp_path / "base.safetensors")


def standing_still(parameters):
    return torch.optim.SGD(parameters, 0.0)


@pytest.mark.parametrize("backend", ["vectorised", pytest.param("processes", marks=pytest.mark.slow)])
def test_members_start_at_the_base(tmp_path, base, backend):
    recipe = Recipe(world.classifier, optimizer=standing_still, epochs=1, batch_size=16, init=base)
    oracle = TrainedModel.fit(recipe, *world.data())
    pool = References.fit(oracle, 16, workspace=tmp_path, backend=backend, keep_weights=True)
    started = [pool.store.weights(member).read_bytes() for member in range(16)]
    assert started == [base.read_bytes()] * 16


def test_retraining_starts_at_the_base(base):
    recipe = Recipe(world.classifier, optimizer=standing_still, epochs=1, batch_size=16, init=base)
    oracle = TrainedModel.fit(recipe, *world.data())
    task = nz.Task(oracle, nz.ErasureRequest(subjects=["s03"]))
    assert weights.digest(catalogue.make("retrain", seed=9).unlearn(task)) == weights.digest(world.RECIPE.module(77))


def jitter(x, generator):
    return x + 0.5 * torch.randn(x.shape, generator=generator)


def test_members_of_a_recipe_that_augments(tmp_path):
    recipe = replace(world.RECIPE, augment=jitter)
    oracle = TrainedModel.fit(recipe, *world.data())
    pool = References.fit(oracle, 16, workspace=tmp_path, keep_weights=True)
    assert pool.head["backend"] == "processes" and "augments each batch" in pool.head["why"]
    kept = np.flatnonzero(pool.roster.held(pool.store.load("keep.npy"))[2])
    member, augmented, plain = (
        weights.load_into(world.classifier(), pool.store.weights(2)),
        training.train(recipe, oracle.data.select(kept), 10_003),
        training.train(world.RECIPE, oracle.data.select(kept), 10_003),
    )
    for name, value in augmented.state_dict().items():
        torch.testing.assert_close(member.state_dict()[name], value, rtol=0, atol=1e-6)
    assert not torch.allclose(member[0].weight, plain[0].weight, atol=1e-3)
    audited = nz.audit(oracle, nz.ErasureRequest(subjects=["s00"]), pool)
    assert {"margin", "augmented"} <= {family["signal"] for family in audited.families}
