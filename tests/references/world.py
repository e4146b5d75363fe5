"""A small world: twelve subjects, three of them large enough to be relearned, and an oracle that takes no time."""

import numpy as np
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel

SIZES = np.array([10, 10, 9, *[6] * 9])
ROWS, HOLDOUT_ROWS = int(SIZES.sum()), 210
SUBJECTS = np.repeat([f"s{number:02d}" for number in range(12)], SIZES)


def classifier():
    return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3))


def regressor():
    return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 1))


RECIPE = Recipe(build=classifier, epochs=4, batch_size=16)
REGRESSION = Recipe(build=regressor, objective=Regression(), epochs=4, batch_size=16)


def arrays(seed=0, real=False):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(ROWS + HOLDOUT_ROWS, 5)).astype(np.float32)
    level = x[:, 0] - x[:, 1] + generator.normal(scale=0.5, size=len(x))
    return x, level[:, None] if real else np.digitize(level, [-0.7, 0.7])


def data(seed=0, real=False, subjects=SUBJECTS):
    x, y = arrays(seed, real)
    ids = np.array([f"id-{place}" for place in range(len(x))])
    return (
        Data.from_arrays(x[:ROWS], y[:ROWS], subjects, ids[:ROWS]),
        Data.from_arrays(x[ROWS:], y[ROWS:], ids=ids[ROWS:]),
    )


def oracle(recipe=RECIPE, real=False):
    return TrainedModel.fit(recipe, *data(real=real))
