"""``TrainedModel``: what of holdouts and weights is accepted, and what is refused with which word."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import HoldoutError, NotFiniteError, WeightsError
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel


def build(width=8):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))


RECIPE = Recipe(build=build, epochs=2, batch_size=32)


def make(count, seed, **given):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3)).astype(np.float32)
    return Data.from_arrays(x, (x.sum(1) > 0).astype(int), **given)


TRAINING, HOLDOUT = make(100, 0), make(220, 1)


@pytest.fixture
def stored(tmp_path):
    return weights.save(RECIPE.module(), tmp_path / "oracle.safetensors")


def test_a_model_is_trained_and_loads_again_bit_by_bit(tmp_path):
    oracle = TrainedModel.fit(RECIPE, TRAINING, HOLDOUT)
    path = weights.save(oracle.model, tmp_path / "oracle.safetensors")
    again = TrainedModel.load(RECIPE, path, TRAINING, HOLDOUT)
    assert again.digest == oracle.digest and again.data_digest == oracle.data_digest
    for name, tensor in oracle.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    assert not again.model.training and again.seconds is None and oracle.seconds > 0


def test_the_same_seed_gives_the_same_weights_and_another_others():
    first, second, third = (
        TrainedModel.fit(Recipe(build=build, epochs=2, batch_size=32, seed=seed), TRAINING) for seed in (5, 5, 6)
    )
    assert first.digest == second.digest != third.digest


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    TrainedModel.fit(RECIPE, TRAINING)
    assert torch.equal(torch.rand(3), expected)


def test_weights_have_the_digest_of_their_file(stored):
    from neuralyzer.workspace import digests

    assert TrainedModel.load(RECIPE, stored, TRAINING).digest == digests.of_file(stored)


def test_a_holdout_that_is_too_small(stored):
    with pytest.raises(HoldoutError, match=r"199 rows .* needs 200"):
        TrainedModel.load(RECIPE, stored, TRAINING, make(199, 2))
    assert len(TrainedModel.load(RECIPE, stored, TRAINING, make(200, 2)).holdout) == 200


def test_a_holdout_that_shares_given_ids(stored):
    training = make(100, 0, ids=[f"r{at}" for at in range(100)])
    shared = make(220, 1, ids=[f"r{at}" for at in range(98, 318)])
    with pytest.raises(HoldoutError, match=r"row id 'r98' .*\(2 such\)"):
        TrainedModel.load(RECIPE, stored, training, shared)


@pytest.mark.parametrize("numbered", ["training", "holdout", "both"])
def test_ids_that_were_only_counted_never_clash(stored, numbered):
    training = TRAINING if numbered != "holdout" else make(100, 0, ids=range(100))
    holdout = HOLDOUT if numbered != "training" else make(220, 1, ids=range(220))
    assert len(TrainedModel.load(RECIPE, stored, training, holdout).holdout) == 220


def test_holdout_rows_of_equal_content_are_dropped_and_counted(stored):
    x = torch.cat([TRAINING.x[:7], HOLDOUT.x])
    y = torch.cat([TRAINING.y[:6], 1 - TRAINING.y[6:7], HOLDOUT.y])  # the seventh has another target: another row
    oracle = TrainedModel.load(RECIPE, stored, TRAINING, Data.from_arrays(x, y))
    assert oracle.dropped == 6 and len(oracle.holdout) == 221
    assert not set(oracle.holdout.row_digests.tolist()) & set(TRAINING.row_digests.tolist())


def test_rows_dropped_can_make_a_holdout_too_small(stored):
    x, y = torch.cat([TRAINING.x, HOLDOUT.x[:199]]), torch.cat([TRAINING.y, HOLDOUT.y[:199]])
    with pytest.raises(HoldoutError, match="199 rows that are not training rows"):
        TrainedModel.load(RECIPE, stored, TRAINING, Data.from_arrays(x, y))


def test_without_a_holdout_only_what_needs_one_fails(stored):
    oracle = TrainedModel.load(RECIPE, stored, TRAINING)
    assert oracle.holdout is None and oracle.data_digest
    with pytest.raises(HoldoutError, match="no holdout"):
        oracle.require_holdout()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, value):
    module = RECIPE.module()
    with torch.no_grad():
        module[2].weight[0, 1] = value
    path = weights.save(module, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match=r"NaN or infinite values in 2\.weight"):
        TrainedModel.load(RECIPE, path, TRAINING)
    with pytest.raises(WeightsError, match=r"NaN or infinite values in 2\.weight"):
        TrainedModel(module, RECIPE, TRAINING, None)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: build(9), r"0.bias is \(9,\), the recipe has \(8,\)"),
        (lambda: build().append(nn.Linear(2, 2)), r"3.bias is \(2,\), the recipe has no such tensor"),
        (lambda: build()[:1], "2.bias is missing"),
    ],
)
def test_weights_that_do_not_fit_the_recipe(tmp_path, other, message):
    path = weights.save(other(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=message):
        TrainedModel.load(RECIPE, path, TRAINING)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights(stored, keep):
    stored.write_bytes(stored.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="truncated"):
        TrainedModel.load(RECIPE, stored, TRAINING)


def test_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        TrainedModel.load(RECIPE, tmp_path / "none.safetensors", TRAINING)


class Trap:
    """Leaves a trace if it is ever unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("name", ["oracle.pt", "oracle.bin", "oracle.pkl", "oracle.safetensors"])
def test_a_pickle_is_refused_and_never_run(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="safetensors"):
        TrainedModel.load(RECIPE, tmp_path / name, TRAINING)
    assert not Trap.sprung
    pickle.loads((tmp_path / name).read_bytes())
    assert Trap.sprung
    Trap.sprung = False


def test_tied_and_frozen_weights_load(tmp_path):
    def tied():
        module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        module[2].weight = module[0].weight
        module[0].bias.requires_grad_(False)
        return module

    recipe = Recipe(build=tied, epochs=1, batch_size=32)
    oracle = TrainedModel.fit(recipe, TRAINING)
    assert torch.equal(oracle.model[0].bias, recipe.module()[0].bias)
    again = TrainedModel.load(recipe, weights.save(oracle.model, tmp_path / "tied.safetensors"), TRAINING)
    assert again.digest == oracle.digest and again.model[0].weight is again.model[2].weight


def test_a_training_that_diverges_says_so():
    recipe = Recipe(build=build, optimizer=lambda ps: torch.optim.SGD(ps, 1e30), epochs=2, batch_size=32)
    with pytest.raises(NotFiniteError, match="lower the rate"):
        TrainedModel.fit(recipe, TRAINING, HOLDOUT)
