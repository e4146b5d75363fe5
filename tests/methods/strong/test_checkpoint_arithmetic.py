"""Checkpoint arithmetic against its formula, each vector by a loop written out."""

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
from tests.methods.contract import FORGOTTEN, RATE, RECIPE, ROWS, Tied, frozen
from tests.methods.small import recorded, rows

LATE = 5  # the step that first sees a forget row
REAL = replace(RECIPE, build=lambda: nn.Linear(5, 1), objective=Regression())


def delivered_late(folder, recipe=RECIPE, every=2):
    """Eight steps, the last three of which alone see the forget rows."""
    data = rows(recipe.objective.name == "regression")
    module = recipe.module()
    optimizer = recipe.optimizer(training.trainable(module))
    recorder = Recorder(folder, data, every, recipe=recipe.digest, seed=0, optimizers=False)
    recorder.begin(module, optimizer)
    batches = [np.arange(FORGOTTEN, ROWS)] * LATE + [np.arange(ROWS)] * 3
    for _ in training.run_steps(recipe, module, optimizer, data, iter(batches), 0, recorder):
        pass
    recorder.finish(module)
    return Task(TrainedModel(module, recipe, data, None, run=folder), ErasureRequest(subjects=["gone"]))


def trained_on(task, start, data, steps, rate):
    """Plain gradient descent on whole passes."""
    module = weights.clone(start)
    x, y = data.gather(np.arange(len(data)))
    for _ in range(steps):
        loss = nn.functional.mse_loss(module(x), y) / 2 if data.y.is_floating_point() else None
        loss = nn.functional.cross_entropy(module(x), y) if loss is None else loss
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        for own, gradient in zip(module.parameters(), gradients, strict=True):
            own.data -= rate * RATE * gradient
    return module


@pytest.mark.parametrize("recipe", [RECIPE, REAL], ids=["classes", "real"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.5, 0.5), (0.7, 0.0)])
def test_the_formula(tmp_path, recipe, alpha, beta):
    task = delivered_late(tmp_path / "run", recipe)
    clean = weights.load_into(recipe.module(), tmp_path / "run" / "checkpoints" / "00000004.safetensors")
    ours, kept = (trained_on(task, clean, data, 3, 0.5) for data in (task.forget, task.retain))
    made = catalogue.make("checkpoint-arithmetic", alpha=alpha, beta=beta, epochs=3, rate=0.5).unlearn(task)
    for own, theta, c, f, r in zip(*(m.parameters() for m in (made, task.model, clean, ours, kept)), strict=True):
        torch.testing.assert_close(own, theta - alpha * (f - c) + beta * (r - c), rtol=0, atol=1e-5)
    assert not made.training


def test_it_undoes_a_model_that_only_the_forget_rows_moved(tmp_path):
    """With the same steps taken from the same checkpoint, alpha 1 leads back to it."""
    data = rows()
    module = RECIPE.module()
    optimizer = RECIPE.optimizer(training.trainable(module))
    recorder = Recorder(tmp_path / "run", data, 100, recipe=RECIPE.digest, seed=0)
    recorder.begin(module, optimizer)
    batches = iter([np.arange(FORGOTTEN)] * 4)
    list(training.run_steps(RECIPE, module, optimizer, data, batches, 0, recorder))
    recorder.finish(module)
    task = Task(TrainedModel(module, RECIPE, data, None, run=tmp_path / "run"), ErasureRequest(subjects=["gone"]))
    made = catalogue.make("checkpoint-arithmetic", alpha=1.0, beta=0.0, epochs=4).unlearn(task)
    for own, first in zip(made.parameters(), RECIPE.module().parameters(), strict=True):
        torch.testing.assert_close(own, first, rtol=0, atol=1e-5)


def test_frozen_tied_and_normalised_models_and_seeds(tmp_path):
    recipe = replace(RECIPE, build=frozen, batch_size=23)
    task = recorded(tmp_path / "run", recipe)
    before, state = weights.digest(task.model), torch.get_rng_state()
    made, again = (catalogue.make("checkpoint-arithmetic").unlearn(task) for _ in range(2))
    assert (torch.get_rng_state() == state).all() and not made.training
    assert weights.digest(made) == weights.digest(again) != weights.digest(task.model) == before
    assert (made[0].weight == task.model[0].weight).all() and not made[0].weight.requires_grad
    assert (made[3].weight != task.model[3].weight).all()
    assert (made[1].running_mean == task.model[1].running_mean).all()
    other = Task(task.oracle, task.request, seed=1)
    assert weights.digest(catalogue.make("checkpoint-arithmetic").unlearn(other)) != weights.digest(made)
    tied = catalogue.make("checkpoint-arithmetic").unlearn(recorded(tmp_path / "tied", replace(RECIPE, build=Tied)))
    assert tied.first.weight is tied.second.weight


def test_steps_are_counted_and_stop_where_the_time_is_up(tmp_path, monkeypatch):
    task, taken = recorded(tmp_path / "run", replace(RECIPE, batch_size=4)), []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *given: taken.append(1) or step(self, *given))
    for beta in (0.0, 1.0):
        taken.clear()
        method = catalogue.make("checkpoint-arithmetic", beta=beta)
        method.unlearn(task)
        assert len(taken) == method.passes(task).steps == 5 * 2 + (5 * 5 if beta else 0)
    taken.clear()
    task.start(0.0)
    made = method.unlearn(task)
    assert len(taken) == 2 and weights.digest(made) != weights.digest(task.model)


def test_obstacles_name_what_is_missing(tmp_path):
    method, task = catalogue.make("checkpoint-arithmetic"), delivered_late(tmp_path / "run")
    assert obstacle(method, task) is None and task.checkpoint is None  # there is no optimizer's state, nor need of one
    bare = Task(replace(task.oracle, run=None), task.request)
    assert obstacle(method, bare) == "the training was not recorded, so there is no checkpoint"
    with pytest.raises(UsageError, match="checkpoint-arithmetic is not possible: the training was not recorded"):
        method.unlearn(bare)
    other = Task(replace(task.oracle, data=rows(count=30)), task.request)
    assert obstacle(method, other) == "the recorded training was on other rows than the model's present ones"
    for name in ("00000000", "00000002", "00000004"):
        (tmp_path / "run" / "checkpoints" / f"{name}.safetensors").unlink()
    lost = Task(task.oracle, task.request)
    assert obstacle(method, lost) == "no checkpoint precedes the first step on these rows"
    with pytest.raises(UsageError, match="alpha and beta of at least 0 and epochs of at least 1"):
        catalogue.make("checkpoint-arithmetic", alpha=-1.0)
