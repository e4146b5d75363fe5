"""A recipe that does not reproduce its model is said to be so before its pool is paid for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuralyzer.errors import ReferencesError
from neuralyzer.models import training
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.references.training import pilot_run, reproduction, stacked_check
from tests.conftest import small_digits, small_recipe
from tests.naming import named

ROWS = small_digits()


def elsewhere(trained_by, recipe=None):
    """A model that another recipe may have made, with the recipe that it is said to have."""
    module = training.train(trained_by, ROWS[0])
    return TrainedModel(module, recipe or small_recipe(), *ROWS)


@pytest.fixture
def trainings(monkeypatch):
    """The seeds of what is trained."""
    seeds, train, stack = [], training.train, pilot_run.backends.stacked.train_stack

    def noting(recipe, data, seed=0, **given):
        seeds.append(seed)
        return train(recipe, data, seed, **given)

    def noting_stack(recipe, data, kept, seeds_, *rest, **given):
        if recipe.epochs != stacked_check.PASSES:  # of the few steps that show whether members may be stacked
            seeds.extend(seeds_)
        return stack(recipe, data, kept, seeds_, *rest, **given)

    monkeypatch.setattr(pilot_run.training, "train", noting)
    monkeypatch.setattr(pilot_run.backends.stacked, "train_stack", noting_stack)
    return seeds


def adamw(rate):
    return lambda parameters: torch.optim.AdamW(parameters, rate, fused=True)


@pytest.mark.parametrize(
    "given", [{"optimizer": adamw(3e-4)}, {"epochs": 1}, pytest.param({"epochs": 8}, marks=pytest.mark.slow)], ids=named
)
def test_another_recipes_weights_are_refused_after_one_training(tmp_path, trainings, given):
    oracle = elsewhere(small_recipe(**given))
    trainings.clear()
    for _ in range(2):  # what was found is written down
        with pytest.raises(
            ReferencesError, match=r"does not reproduce the model: .* as the model had them, or say 'unc"
        ):
            References.fit(oracle, 32, leave_out=0.4, workspace=tmp_path, backend="vectorised")
    assert trainings == [10_001] and not list(tmp_path.rglob("*.safetensors"))
    (head,) = tmp_path.rglob("pool.json")
    assert '"reason": "its' in head.read_text()
    with pytest.raises(ReferencesError, match="does not reproduce the model"):
        References.fit(oracle, 32, leave_out=0.4, workspace=tmp_path, backend="vectorised")
    pool = References.fit(oracle, 32, leave_out=0.4, workspace=tmp_path, backend="vectorised", unchecked=True)
    assert pool.head["reproduction"]["unchecked"] and sorted(trainings) == [10_001, *range(10_001, 10_033)]


def test_the_models_own_recipe_passes(tmp_path, trainings):
    oracle = elsewhere(small_recipe())
    trainings.clear()
    pool = References.fit(oracle, 32, leave_out=0.4, workspace=tmp_path, backend="vectorised")
    assert sorted(trainings) == [10_001, *range(10_001, 10_033)]
    finding = pool.head["reproduction"]
    assert finding["reason"] is None and finding["oracle"] == oracle.digest
    assert 0 < finding["holdout"][0] < 0.5 and 0.9 < finding["utility"][1] < 1


def test_a_model_that_was_trained_here_needs_no_check(tmp_path, trainings):
    oracle = TrainedModel.fit(small_recipe(), *ROWS)
    trainings.clear()
    pool = References.fit(oracle, 32, leave_out=0.4, workspace=tmp_path, backend="vectorised")
    assert sorted(trainings) == list(range(10_001, 10_033)) and pool.head["reproduction"] is None


@pytest.mark.slow
def test_processes_train_the_first_member_once(tmp_path):
    recipe = small_recipe()  # with 10 epochs it is refused, falsely: decision 0020
    oracle = elsewhere(recipe, recipe)
    pool = References.fit(oracle, 32, leave_out=0.4, workspace=tmp_path, backend="processes", keep_weights=True)
    keep = np.load(pool.store.root / "keep.npy")[0]
    rows = np.flatnonzero(pool.pool_index.held(keep[None])[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = training.train(recipe, ROWS[0].select(rows), 10_001)
    torch.set_num_threads(threads)
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in pool.member(0).state_dict().items())


def test_the_finding_of_a_model_beside_itself():
    oracle = elsewhere(small_recipe(epochs=3))
    finding = reproduction.compare(oracle, oracle.model, np.arange(len(ROWS[0])))
    assert finding.reason is None and finding.holdout[0] == finding.holdout[1]
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(oracle.model(oracle.holdout.x), oracle.holdout.y)
    assert finding.holdout[0] == pytest.approx(float(loss), rel=1e-4)


def test_a_member_without_a_class_is_compared_on_the_others():
    oracle = elsewhere(small_recipe())
    labels = oracle.data.y.numpy()
    kept = np.flatnonzero((labels != 3) & (np.arange(len(labels)) % 8 > 0))
    member = training.train(small_recipe(), oracle.data.select(kept), 5)
    finding = reproduction.compare(oracle, member, kept)
    assert finding.reason is None
    x, y = oracle.holdout.x[oracle.holdout.y != 3], oracle.holdout.y[oracle.holdout.y != 3]
    others = [c for c in range(10) if c != 3]
    for module, loss, right in zip((oracle.model, member), finding.holdout, finding.utility, strict=True):
        with torch.no_grad():
            own = module(x)[:, others]
        named = torch.tensor([others.index(int(label)) for label in y])
        assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(own, named)), rel=1e-4)
        assert right == pytest.approx(float((own.argmax(1) == named).float().mean()))
    forgotten = training.train(small_recipe(epochs=2), oracle.data.select(kept), 5)
    assert reproduction.compare(oracle, forgotten, kept).reason is not None


@pytest.mark.slow
def test_bf16_is_used_where_it_is_faster_and_holds(tmp_path, monkeypatch):
    oracle = TrainedModel.fit(small_recipe(epochs=10), *ROWS)
    timed = pilot_run.backends.timed

    def slower(times):
        def found(recipe, data, kept, asked, execution):
            return replace(
                timed(recipe, data, kept, asked, execution),
                single=times if execution.placement.precision == "bf16" else 1,
            )

        return found

    for place, (times, chosen) in enumerate([(2.0, "float32"), (0.5, "bf16")]):
        with monkeypatch.context() as patched:
            patched.setattr(pilot_run.backends, "timed", slower(times))
            given = {"leave_out": 0.4, "workspace": tmp_path / str(place), "backend": "vectorised"}
            precision = References.fit(oracle, 32, precision="bf16", **given).head["precision"]
        assert precision[0] == chosen
        assert precision[1].startswith("bf16 takes 2.0 times" if times > 1 else "faster, and the holdout accuracy")
