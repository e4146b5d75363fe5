"""Small data and workspaces that the registry's tests share."""

import numpy as np
import pytest
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.models.recipe import Recipe
from neuralyzer.workspace.paths import Workspace

SUBJECTS = ["ann", "bob", "ann", "cy", "bob", "ann", "dee", "cy", "eve", "eve"]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "it's [here]*")


@pytest.fixture
def data():
    """Ten rows of five subjects; ann's r0 and eve's r9 have equal content."""
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    x[9] = x[0]
    return Data.from_arrays(x, [0, 1] * 4 + [1, 0], subjects=SUBJECTS, ids=[f"r{at}" for at in range(10)])


@pytest.fixture
def recipe():
    return Recipe(build=lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)), epochs=3, batch_size=4)
