"""One small task for the tests of single algorithms, its model made by whatever recipe a test needs."""

import numpy as np

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.models.trained import TrainedModel
from neuralyzer.registry.record import Recorder
from neuralyzer.unlearning.task import Task
from tests.methods.contract import FORGOTTEN, RECIPE, ROWS


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
