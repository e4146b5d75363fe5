"""A small world for an algorithm's tests, and what every algorithm must do on it."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel
from neuralyzer.unlearning.task import Task

ROWS, FORGOTTEN, RATE = 24, 6, 0.1


def build():
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def convolving():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(8, 3)
    )


def sgd(parameters):
    return torch.optim.SGD(parameters, RATE)


RECIPE = Recipe(build, optimizer=sgd, epochs=2, batch_size=64)
REGRESSION = replace(RECIPE, build=lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)), objective=Regression())  # fmt: skip
IMAGES = replace(RECIPE, build=convolving)


def world(recipe=RECIPE, rows=ROWS, shape=(5,), seed=0, classes=3):
    """A task on random rows, the first six of which are to go; (1, 5, 5) is the shape of images."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, *shape)).astype(np.float32)
    y = generator.integers(classes, size=rows)
    if recipe.objective.name == "regression":
        y = generator.normal(size=(rows, 1)).astype(np.float32)
    subjects = np.where(np.arange(rows) < FORGOTTEN, "gone", "stays")
    oracle = TrainedModel(recipe.module(3), recipe, Data.from_arrays(x, y, subjects), None)
    return Task(oracle, ErasureRequest(subjects=["gone"]), seed=seed)


def loss(task, module, data):
    x, y = data.gather(np.arange(len(data)))
    return task.objective.losses(task.objective.outputs(module, x), y).mean()


def gradients(total, module):
    return torch.autograd.grad(total, [p for p in module.parameters() if p.requires_grad])


def same(module, parameters, tolerance=1e-6):
    for own, expected in zip(module.parameters(), parameters, strict=True):
        torch.testing.assert_close(own.detach(), expected, rtol=0, atol=tolerance)


class Tied(nn.Module):
    """Two layers that share one weight, under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(self.second(self.first(x).tanh()).tanh())


class TiedConvolutions(nn.Module):
    """The like with convolutions."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.second.weight, self.last = self.first.weight, nn.Linear(25, 3)

    def forward(self, x):
        return self.last(self.second(self.first(x).tanh()).tanh().flatten(1))


def frozen():
    """BatchNorm, dropout and a first layer that is not trained."""
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
    module[0].requires_grad_(False)
    return module


def frozen_images():
    """The like with convolutions."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.3), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(8, 3)
    )
    module[0].requires_grad_(False)
    return module


def repeats(method, task):
    """Unlearn twice: the same weights, others than before, no global random state, the given model as it was."""
    state, before = torch.get_rng_state(), weights.digest(task.model)
    made, again = method.unlearn(task), method.unlearn(task)
    assert (torch.get_rng_state() == state).all()
    assert weights.digest(made) == weights.digest(again) != before
    assert weights.digest(task.model) == before
    assert not made.training and not task.model.training
    return made


def batchnorm_dropout_and_frozen(method, shape=(5,)):
    """What a frozen layer, BatchNorm, dropout and a last batch of a single row ask for."""
    recipe = replace(RECIPE, build=frozen if shape == (5,) else frozen_images, batch_size=17)
    task = world(recipe, shape=shape)
    made = repeats(method, task)
    assert (made[0].weight == task.model[0].weight).all() and not made[0].weight.requires_grad
    assert made[3].weight.requires_grad and not (made[3].weight == task.model[3].weight).all()
    assert all(torch.isfinite(value).all() for value in made.state_dict().values())
    return task, made


def stays_tied(method, shape=(5,)):
    """A weight under two names is one weight still."""
    task = world(replace(RECIPE, build=Tied if shape == (5,) else TiedConvolutions), shape=shape)
    made = method.unlearn(task)
    assert made.first.weight is made.second.weight
    assert not (made.first.weight == task.model.first.weight).all()


def steps_taken(monkeypatch, method, task):
    """How many steps the optimizer takes."""
    taken, step = [], torch.optim.SGD.step
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", lambda self, *given: taken.append(1) or step(self, *given))
        method.unlearn(task)
    return len(taken)


class Heard:
    """A progress that counts."""

    def __init__(self):
        self.total, self.done, self.open, self.shown = 0, 0, 0, []

    def start(self, step, total):
        self.total += total
        self.open += 1

    def advance(self, amount=1):
        self.done += amount

    def show(self, **values):
        self.shown.append(values)

    def finish(self):
        self.open -= 1


def is_heard(method, task):
    """All of the work that was announced is shown as done, and each step of it ends."""
    heard = Heard()
    method.unlearn(task, heard)
    assert heard.total == heard.done > 0 and heard.open == 0 and heard.shown


def holds(monkeypatch, method, shape, batch_size, steps):
    """All of the above for an algorithm that trains on; it takes as many steps as it predicts, and one where there is no time."""
    batchnorm_dropout_and_frozen(method, shape)
    stays_tied(method, shape)
    task = world(replace(RECIPE if shape == (5,) else IMAGES, batch_size=batch_size), shape=shape)
    assert steps_taken(monkeypatch, method, task) == method.passes(task).steps == steps
    is_heard(method, task)
    task.start(0.0)
    assert steps_taken(monkeypatch, method, task) == 1
