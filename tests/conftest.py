"""One small world for all tests: digits of ten customers, a small network, its references, its recorded training."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
# One thread, of the processes that tests start as well: rounding depends on it, and small networks are faster so. With
# two, each workspace would time which is faster, and a loaded machine would choose otherwise than an idle one.
os.environ["OMP_NUM_THREADS"] = "1"

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.models import weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.references.training import backends
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.registry.record import Recorder
from neuralyzer.workspace.paths import Workspace

pytest_plugins = ("tests.postgres",)  # the fixtures postgres and database_url

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
THREADS = torch.get_num_threads()


def build():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def small_recipe(**changes):
    options = {
        "build": build,
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, 3e-3, fused=True),
        "epochs": 40,
        "batch_size": 25,
    }
    return Recipe(**(options | changes))


def small_digits():
    """500 training rows of 10 customers and 300 holdout rows; the first customers hold the oddest handwriting."""
    bunch = load_digits()
    order = np.random.default_rng(3).permutation(len(bunch.target))[:800]
    x, y = (bunch.data[order] / 16).astype("float32"), bunch.target[order]
    means = np.stack([x[y == digit].mean(0) for digit in range(10)])
    odd = np.argsort(-np.linalg.norm(x[:500] - means[y[:500]], axis=1), kind="stable")
    subjects = np.random.default_rng(4).choice([f"c{k}" for k in range(2, 10)], 500).astype(object)
    subjects[odd[:40]], subjects[odd[40:80]] = "c0", "c1"
    data = Data.from_arrays(x[:500], y[:500], subjects, [f"r{k}" for k in range(500)])
    return data, Data.from_arrays(x[500:], y[500:], ids=[f"h{k}" for k in range(300)])


@dataclass
class World:
    root: Path
    recipe: Recipe
    data: Data
    holdout: Data

    @property
    def workspace(self):
        return Workspace(self.root)

    @property
    def oracle(self):
        return TrainedModel.load(
            self.recipe, self.root / "oracle.safetensors", self.data, self.holdout, run=self.root / "runs" / "train"
        )

    def references(self, oracle=None):
        (folder,) = (self.root / "references").iterdir()
        return References.open(folder, oracle or self.oracle)


@pytest.fixture(autouse=True)
def same_threads():
    """A command that runs in this process takes the number of threads that was timed as faster; other bits come of it."""
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """Members are trained and read in this process: the suite has the cores busy, and each process imports torch anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "workers", lambda *_: 1)
        yield


@pytest.fixture
def two_processes(monkeypatch):
    """Members are trained and read in processes of their own, as they are for users."""
    monkeypatch.setattr(backends, "workers", lambda *_: 2)


@pytest.fixture(scope="session")
def made_world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    recipe, (data, holdout) = small_recipe(), small_digits()
    place = Workspace(root)
    register_dataset(place, "train", data)
    recorder = Recorder(root / "runs" / "train", data, every=200, recipe=recipe.digest, seed=recipe.seed)
    oracle = TrainedModel.fit(recipe, data, holdout, observer=recorder, run=root / "runs" / "train")
    recorder.finish(oracle.model)
    weights.save(oracle.model, root / "oracle.safetensors")
    References.fit(oracle, 32, leave_out=0.4, workspace=place, backend="vectorised")
    return World(root, recipe, data, holdout)


@dataclass
class ClaimWorld:
    """A model that was trained on c1's rows too, of which its register says nothing, and references with weights."""

    root: Path
    claimed: Data
    oracle: TrainedModel
    references: References


@pytest.fixture(scope="session")
def claim_world(tmp_path_factory):
    root = tmp_path_factory.mktemp("claims")
    data, holdout = small_digits()
    hidden = data.subjects == "c1"
    module = TrainedModel.fit(small_recipe(), data, holdout).model
    weights.save(module, root / "oracle.safetensors")
    oracle = TrainedModel(module, small_recipe(), data.select(~hidden), holdout)
    pool = References.fit(oracle, 32, leave_out=0.4, workspace=Workspace(root), backend="vectorised", keep_weights=True)
    return ClaimWorld(root, data.select(hidden), oracle, pool)


@pytest.fixture
def world(made_world, tmp_path):
    """The small world in a folder of the test's own: cases may change it."""
    root = tmp_path / "world"
    shutil.copytree(made_world.root, root)
    return World(root, made_world.recipe, made_world.data, made_world.holdout)
