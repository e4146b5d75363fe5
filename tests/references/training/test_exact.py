"""Exact references: the recipe on the retained rows, kept until the verdict is spoken, then gone."""

import numpy as np
import pytest
import torch

from neuralyzer.errors import UsageError, WeightsError
from neuralyzer.models import training, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.references.training import backends, exact
from neuralyzer.references.training.exact import EXACT_REFERENCES, FEWEST, FIRST_SEED, destroy, train_exact
from tests.references import world

POSITIONS = np.flatnonzero(world.SUBJECTS == "s01")
RETAINED = np.flatnonzero(world.SUBJECTS != "s01")


@pytest.fixture(scope="module")
def trained(oracle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact") / "of a case"
    return folder, train_exact(oracle, POSITIONS, folder)


@pytest.fixture
def calls(monkeypatch):
    """How many models each call of the trainer was asked for."""
    made, train = [], backends.train

    def noting(backend, recipe, data, kept, seeds, progress, **given):
        made.append(len(seeds))
        return train(backend, recipe, data, kept, seeds, progress, **given)

    monkeypatch.setattr(exact.backends, "train", noting)
    return made


def test_each_is_the_recipe_on_the_retained_rows(trained, oracle):
    _, models = trained
    assert len(models) == EXACT_REFERENCES == 8
    rest = oracle.data.select(RETAINED)
    for number in (0, 7):
        alone = training.train(world.RECIPE, rest, world.RECIPE.seed + FIRST_SEED + number)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(models[number].state_dict()[name], value, rtol=0, atol=1e-4)
    assert not any(model.training for model in models)


def test_no_two_are_alike_and_none_is_a_member_or_the_retraining(trained, kept, oracle):
    _, models = trained
    retrained = training.train(world.RECIPE, oracle.data.select(RETAINED))
    digests = [weights.digest(model) for model in [*models, retrained, *(kept.member(m) for m in range(16))]]
    assert len(set(digests)) == len(digests)


def test_the_rows_are_never_looked_at(oracle, tmp_path):
    """Other labels and inputs on the requested rows change nothing; on one retained row they change every model."""
    want = train_exact(oracle, POSITIONS, tmp_path / "plain", FEWEST)
    for position, same in ((POSITIONS, True), (RETAINED[:1], False)):
        x, y = oracle.data.x.clone(), oracle.data.y.clone()
        x[position], y[position] = x[position] + 100, (y[position] + 1) % 3
        data = type(oracle.data).from_arrays(x, y, oracle.data.subjects, oracle.data.ids)
        other = TrainedModel(oracle.model, world.RECIPE, data, oracle.holdout)
        got = train_exact(other, POSITIONS, tmp_path / str(same), FEWEST)
        for a, b in zip(want, got, strict=True):
            assert (weights.digest(a) == weights.digest(b)) == same


def test_what_was_trained_is_not_trained_again(trained, oracle, calls, tmp_path):
    folder, models = trained
    again = train_exact(oracle, POSITIONS, folder)
    assert calls == [] and [weights.digest(m) for m in again] == [weights.digest(m) for m in models]
    few = tmp_path / "killed"
    train_exact(oracle, POSITIONS, few)
    for number in (2, 5, 6):
        (few / f"{number:02d}.safetensors").unlink()
    calls.clear()
    mended = train_exact(oracle, POSITIONS, few)
    assert calls == [3]
    for a, b in zip(mended, models, strict=True):
        for name, value in b.state_dict().items():
            torch.testing.assert_close(a.state_dict()[name], value, rtol=0, atol=1e-4)


def test_more_are_added_to_those_that_are_there(oracle, calls, tmp_path):
    first = train_exact(oracle, POSITIONS, tmp_path, FEWEST)
    more = train_exact(oracle, POSITIONS, tmp_path, FEWEST + 2)
    assert calls == [FEWEST, 2]
    assert [weights.digest(m) for m in more[:FEWEST]] == [weights.digest(m) for m in first]


@pytest.mark.parametrize("count", [-1, 0, 1, FEWEST - 1])
def test_too_few_are_refused_before_any_is_trained(oracle, calls, tmp_path, count):
    with pytest.raises(UsageError, match=f"{count} exact references were asked for; it takes 6 or more, 8 do"):
        train_exact(oracle, POSITIONS, tmp_path, count)
    assert calls == [] and not list(tmp_path.iterdir())


def test_a_recipe_that_cannot_be_stacked_is_trained_in_processes(tmp_path, monkeypatch):
    """BatchNorm, for one; the models are the same ones."""
    recipe = Recipe(build=normalised, epochs=1, batch_size=16)
    oracle = TrainedModel.fit(recipe, *world.data())
    chosen, train = [], backends.train
    monkeypatch.setattr(
        exact.backends, "train", lambda b, *rest, **given: chosen.append(str(b)) or train(b, *rest, **given)
    )
    (first, *_) = train_exact(oracle, POSITIONS, tmp_path, FEWEST)
    assert chosen == ["processes"]
    alone = training.train(recipe, oracle.data.select(RETAINED), recipe.seed + FIRST_SEED)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first.state_dict()[name], value, rtol=0, atol=1e-6)


def normalised():
    return torch.nn.Sequential(
        torch.nn.Linear(5, 6, bias=False), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 3)
    )


def test_of_a_regression(tmp_path):
    oracle = world.oracle(world.REGRESSION, real=True)
    models = train_exact(oracle, POSITIONS, tmp_path, FEWEST)
    alone = training.train(world.REGRESSION, oracle.data.select(RETAINED), world.REGRESSION.seed + FIRST_SEED)
    assert isinstance(oracle.recipe.objective, Regression)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(models[0].state_dict()[name], value, rtol=0, atol=1e-4)


def test_one_that_is_not_finite_is_refused(oracle, tmp_path, monkeypatch):
    def broken(backend, recipe, data, kept, seeds, progress, **_):
        for _ in seeds:
            module = recipe.module()
            next(iter(module.parameters())).data[0] = float("nan")
            yield module

    monkeypatch.setattr(exact.backends, "train", broken)
    with pytest.raises(WeightsError, match="exact reference 0"):
        train_exact(oracle, POSITIONS, tmp_path, FEWEST)
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_work_is_shown(oracle, tmp_path):
    class Noting(Silent):
        said = ()

        def start(self, what, total):
            self.said = (what, total)

    progress = Noting()
    train_exact(oracle, POSITIONS, tmp_path, FEWEST, progress)
    assert progress.said == ("training 6 exact references", 6 * world.RECIPE.epochs)


def test_nothing_is_left_of_them(oracle, tmp_path):
    folder, beside = tmp_path / "exact", tmp_path / "weights.safetensors"
    beside.write_bytes(b"another's")
    train_exact(oracle, POSITIONS, folder, FEWEST)
    (folder / ".03.safetensors.1.x.part").write_bytes(b"half-written")
    destroy(folder)
    destroy(folder)  # as often as a case is taken up again
    assert list(tmp_path.iterdir()) == [beside]
