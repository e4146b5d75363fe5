"""Amnesiac unlearning against updates that were really stored while the model trained."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import training, weights
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel
from neuralyzer.registry.record import Recorder
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods.contract import RECIPE, Tied, frozen
from tests.methods.small import recorded, rows


class Storing(Recorder):
    """A recorder that also stores what the paper stores: each step's update, and the rows of its batch."""

    def begin(self, module, optimizer=None):
        super().begin(module, optimizer)
        self.live, self.updates, self.before = module, [], self.values(module)

    def values(self, module):
        return {name: p.detach().clone() for name, p in module.named_parameters()}

    def step(self, positions):
        super().step(positions)
        now = self.values(self.live)
        self.updates.append((set(positions.tolist()), {name: now[name] - self.before[name] for name in now}))
        self.before = now


def stored(folder, recipe, every=2, **size):
    data = rows(recipe.objective.name == "regression", **size)
    recorder = Storing(folder, data, every, recipe=recipe.digest, seed=recipe.seed)
    oracle = TrainedModel.fit(recipe, data, observer=recorder, run=folder)
    recorder.finish(oracle.model)
    return Task(oracle, ErasureRequest(subjects=["gone"])), recorder.updates


def falling(optimizer, steps):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps)


def noisy(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


SMALL = replace(RECIPE, epochs=3, batch_size=5)
RECIPES = {
    "momentum": replace(SMALL, optimizer=lambda ps: torch.optim.SGD(ps, 0.1, momentum=0.9, weight_decay=0.01)),
    "adam": replace(SMALL, optimizer=lambda ps: torch.optim.AdamW(ps, 1e-2), schedule=falling),
    "random": replace(SMALL, build=frozen, augment=noisy, epochs=4),
    "tied": replace(SMALL, build=Tied),
    "regression": replace(SMALL, build=lambda: nn.Linear(5, 1), objective=Regression()),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_stored_updates_of_batches_with_forget_rows_are_gone(tmp_path, name):
    task, updates = stored(tmp_path / "run", RECIPES[name], forgotten=2)
    gone = set(task.positions.tolist())
    dirty = [update for batch, update in updates if batch & gone]
    assert 0 < len(dirty) < len(updates)
    before = weights.digest(task.model)
    made = catalogue.make("amnesiac").unlearn(task)
    for own, value in task.model.named_parameters():
        expected = value.detach() - sum(update[own] for update in dirty)
        torch.testing.assert_close(dict(made.named_parameters())[own].detach(), expected, rtol=0, atol=1e-5)
    assert weights.digest(task.model) == before != weights.digest(made) and not made.training
    assert weights.digest(made) == weights.digest(catalogue.make("amnesiac").unlearn(task))
    if name == "random":
        assert (made[0].weight == task.model[0].weight).all() and not made[0].weight.requires_grad
        assert (made[1].running_mean == task.model[1].running_mean).all()
    if name == "tied":
        assert made.first.weight is made.second.weight


def test_where_each_batch_held_a_forget_row_the_initial_weights_are_left(tmp_path):
    task = recorded(tmp_path / "run", replace(RECIPE, epochs=5))
    made = catalogue.make("amnesiac").unlearn(task)
    for own, first in zip(made.parameters(), RECIPE.module().parameters(), strict=True):
        torch.testing.assert_close(own, first, rtol=0, atol=1e-5)


def delivered_late(folder):
    """Sixteen steps of which those from the ninth to the tenth alone see the forget rows."""
    data, recipe = rows(), replace(RECIPE, batch_size=6)
    module = recipe.module()
    optimizer = recipe.optimizer(training.trainable(module))
    recorder = Recorder(folder, data, 4, recipe=recipe.digest, seed=0)
    recorder.begin(module, optimizer)
    batches = [np.arange(6 * k, 6 * k + 6) for k in (1, 2, 3, 1, 2, 3, 1, 2, 0, 0, 3, 1, 2, 3, 1, 2)]
    for _ in training.run_steps(recipe, module, optimizer, data, iter(batches), 0, recorder):
        pass
    recorder.finish(module)
    return Task(TrainedModel(module, recipe, data, None, run=folder), ErasureRequest(subjects=["gone"]))


def test_only_stretches_with_forget_rows_are_replayed(tmp_path, monkeypatch):
    task, taken = delivered_late(tmp_path / "run"), []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *given: taken.append(1) or step(self, *given))
    method = catalogue.make("amnesiac")
    method.unlearn(task)
    assert len(taken) == method.passes(task).steps == 4
    taken.clear()
    task.start(0.0)
    stopped = method.unlearn(task)
    assert len(taken) == 1 and weights.digest(stopped) != weights.digest(task.model)


def test_a_recipe_that_does_not_repeat_the_steps_is_refused(tmp_path):
    task = delivered_late(tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(
        json.dumps(facts | {"recipe": None})
    )  # as a loop of one's own records it
    other = replace(task.oracle, recipe=replace(task.oracle.recipe, augment=lambda x, generator: 1.1 * x))
    with pytest.raises(UsageError, match="the recipe does not repeat the steps of run run: replayed from checkpoint 0"):
        catalogue.make("amnesiac").unlearn(Task(other, task.request))


def test_obstacles_name_what_is_missing(tmp_path):
    method, task = catalogue.make("amnesiac"), delivered_late(tmp_path / "run")
    assert obstacle(method, task) is None
    bare = Task(replace(task.oracle, run=None), task.request)
    assert method.obstacle(bare) == "the training was not recorded, so no update can be made again"
    with pytest.raises(UsageError, match="amnesiac is not possible: the training was not recorded"):
        method.unlearn(bare)
    moved = weights.clone(task.model)
    nn.init.zeros_(moved[0].bias)
    found = method.obstacle(Task(replace(task.oracle, model=moved), task.request))
    assert found == "the run run ended in other weights than the model's"
    other = Task(replace(task.oracle, data=rows(count=30)), task.request)
    assert method.obstacle(other) == "the recorded training was on other rows than the model's present ones"
    for state in (tmp_path / "run" / "checkpoints").glob("*.optimizer.safetensors"):
        state.unlink()
    lost = Task(task.oracle, task.request)
    assert method.obstacle(lost) == "no checkpoint with an optimizer's state precedes the first step on these rows"
    assert method.passes(lost).steps == 0
