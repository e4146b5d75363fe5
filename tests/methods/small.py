"""One small task for the tests of single algorithms, its model made by whatever recipe a test needs."""

import numpy as np
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.methods.task import Task
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.registry.record import Recorder

ROWS, FORGOTTEN, RATE = 24, 6, 0.1


def build():
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def half_frozen():
    """BatchNorm and dropout, and a first layer that is not trained."""
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
    module[0].requires_grad_(False)
    return module


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


def sgd(parameters):
    return torch.optim.SGD(parameters, RATE)


RECIPE = Recipe(build, optimizer=sgd, epochs=2, batch_size=64)


def rows(real=False, count=ROWS, forgotten=FORGOTTEN):
    """Rows of which the first ``forgotten`` are of the subject that goes."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 5)).astype(np.float32)
    y = generator.normal(size=(count, 1)).astype(np.float32) if real else generator.integers(3, size=count)
    return Data.from_arrays(x, y, np.where(np.arange(count) < forgotten, "gone", "stays"))


def untrained(recipe=RECIPE, seed=0, **size):
    """A task whose model is as its seed drew it."""
    data = rows(recipe.objective.name == "regression", **size)
    oracle = TrainedModel(recipe.module(3), recipe, data, None)
    return Task(oracle, ErasureRequest(subjects=["gone"]), seed=seed)


def recorded(folder, recipe=RECIPE, every=2, seed=0, **size):
    """A task whose model was trained under a recorder."""
    data = rows(recipe.objective.name == "regression", **size)
    recorder = Recorder(folder, data, every, recipe=recipe.digest, seed=recipe.seed)
    oracle = TrainedModel.fit(recipe, data, observer=recorder, run=folder)
    recorder.finish(oracle.model)
    return Task(oracle, ErasureRequest(subjects=["gone"]), seed=seed)
