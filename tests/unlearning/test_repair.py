import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.models import reading, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.unlearning.repair import Repair, reestimated
from neuralyzer.unlearning.task import Task


@pytest.fixture(scope="module")
def task(made_world):
    return Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references())


def damaged(task, size):
    copy = weights.clone(task.model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return copy


def test_it_lowers_the_loss_on_rows_held_back(task):
    hurt = damaged(task, 0.08)
    mended = Repair(slack=100.0).mend(hurt, task)
    before = reading.mean_loss(hurt, task.objective, task.held_back)
    assert reading.mean_loss(mended, task.objective, task.held_back) < 0.7 * before


def test_the_rows_it_stops_by_are_never_trained_on(task):
    assert not set(task.held_back.ids) & set(task.repairing.ids)
    assert set(task.held_back.ids) | set(task.repairing.ids) == set(task.retain.ids)
    assert not set(task.forget.ids) & set(task.retain.ids)


def test_it_never_brings_the_trace_back(task):
    from neuralyzer.methods.strong.influence import Influence

    unlearned = Influence().unlearn(task)
    before = task.trace(unlearned).joint
    after = task.trace(Repair(rounds=20, rate=1.0, patience=20).mend(unlearned, task)).joint
    assert after.statistic <= before.statistic + 0.5 * before.critical + 1e-9


def test_nothing_is_kept_where_no_round_helps(task):
    unchanged = Repair(rate=1000.0).mend(task.model, task)
    assert weights.digest(unchanged) == weights.digest(task.model)


def test_running_statistics_are_those_of_the_retained_rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 5)).astype("float32")
    x[:30] += 50  # the forget rows would rule the statistics
    y = generator.integers(0, 2, 300)
    data = Data.from_arrays(x, y, subjects=["a"] * 30 + ["b"] * 270)
    recipe = Recipe(build=lambda: nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 2)), epochs=2, batch_size=30)
    oracle = TrainedModel.fit(recipe, data)
    task = Task(oracle, ErasureRequest(subjects=["a"]))
    mended = reestimated(weights.clone(oracle.model), task)
    mean = mended[0].running_mean.numpy()
    assert np.abs(oracle.model[0].running_mean.numpy()).max() > 1
    np.testing.assert_allclose(mean, x[30:].mean(0), atol=1e-5)
    assert mended[0].momentum == oracle.model[0].momentum and not mended.training
