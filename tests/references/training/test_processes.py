"""Workers that die, training code that fails, and a cluster that loses a node."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NeuralyzerError, ReferencesError, UsageError, WeightsError
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.references.pool import References
from neuralyzer.references.training import processes
from neuralyzer.references.training.processes import Engine, Execution
from tests.cluster import two_nodes
from tests.models.cases import CASES, conv, mlp
from tests.references import world

DATA = Data.from_arrays(*CASES["mlp"].rows(60))
KEPT = [np.sort(np.random.default_rng(member).permutation(60)[:40]) for member in range(6)]
RECIPE = Recipe(build=mlp, epochs=3, batch_size=8)


def dying(folder, times):
    """Training code whose process is killed while seed 3 is trained, the first ``times`` times."""

    def train(data, seed, device, progress):
        if seed == 3:
            for number in range(times):
                try:
                    (folder / str(number)).touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return training.train(RECIPE, data, seed)

    return replace(RECIPE, train=train)


def alone(seed, recipe=RECIPE, data=DATA):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return training.train(recipe, data.select(KEPT[seed]), seed)
    finally:
        torch.set_num_threads(threads)


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_members_of_a_killed_worker_are_trained_again(tmp_path):
    made = list(processes.train_each(dying(tmp_path, 2), DATA, KEPT, range(6), 2))
    assert len(list(tmp_path.iterdir())) == 2
    assert len(made) == 6 and all(same(module, alone(seed)) for seed, module in enumerate(made))


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again(tmp_path):
    made = processes.train_each(
        dying(tmp_path, 99), DATA, KEPT, range(6), 2, names=[f"reference {k}" for k in range(6)]
    )
    with pytest.raises(ReferencesError, match=r"worker processes died 4 times while reference \d was trained .* kept"):
        list(made)


def test_images_lie_channels_last_and_weights_do_not():
    data = Data.from_arrays(*CASES["conv"].rows(60))
    recipe = Recipe(build=conv, epochs=2, batch_size=8)
    for seed, module in enumerate(processes.train_each(recipe, data, KEPT[:3], range(3), 2)):
        want = alone(seed, recipe, data)
        assert module[0].weight.is_contiguous() and same(module, want)


SCRIPT = "import sys; seed = int(sys.argv[1]); sys.exit('no such column' if seed == 10_004 else 0)"


def another_architecture(data, seed, device, progress):
    if seed == 10_004:
        return nn.Linear(5, 3)
    return training.train(replace(world.RECIPE), data, seed)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"train": another_architecture}, WeightsError, r"reference 3: what the recipe's train returned does not fit"),
        ({"command": "exit"}, UsageError, r"reference 3: .* exited 1: no such column|wrote no weights"),
        ({"command": "nothing"}, WeightsError, r"reference \d+: the training command .* wrote no weights"),
    ],
    ids=["another architecture", "a command that fails", "a command that writes nothing"],
)
def test_training_code_that_fails_in_a_pool(tmp_path, oracle, given, error, message):
    if "command" in given:
        (tmp_path / "own.py").write_text(SCRIPT if given["command"] == "exit" else "")
        given = {"command": f"{sys.executable} {tmp_path / 'own.py'} {{seed}} {{rows}} {{weights}}"}
    recipe = replace(world.RECIPE, **given)
    asked = replace(oracle, recipe=recipe)
    with pytest.raises(NeuralyzerError, match=message) as raised:
        References.fit(asked, 16, workspace=tmp_path)
    assert "\n" not in str(raised.value)
    assert error is WeightsError or isinstance(raised.value, UsageError | WeightsError)


def test_a_pool_goes_on_once_the_training_code_is_right(tmp_path, oracle, two_processes):
    failing = replace(oracle, recipe=replace(world.RECIPE, train=another_architecture))
    with pytest.raises(WeightsError, match="reference 3: "):
        References.fit(failing, 16, workspace=tmp_path)
    right = replace(world.RECIPE, train=lambda data, seed, *_: training.train(world.RECIPE, data, seed))
    assert References.fit(replace(oracle, recipe=right), 16, workspace=tmp_path).size == 16


def test_engines(monkeypatch):
    assert processes.as_engine(None) is Engine.LOKY
    with pytest.raises(UsageError, match="engine is 'dask'; it must be loky or ray"):
        processes.as_engine("dask")
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"not installed; pip install 'neuralyzer-unlearning\[ray\]'"):
        processes.as_engine("ray")


def noted(folder):
    """Training code that says which seed is being trained in which process."""

    def train(data, seed, device, progress):
        (folder / f"{seed}-{os.getpid()}").touch()
        return training.train(replace(RECIPE, epochs=100), data, seed)

    return replace(RECIPE, train=train)


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_in_the_middle_loses_no_member(monkeypatch, tmp_path):
    with two_nodes(monkeypatch) as kill:

        def lose():
            while len({path.name.partition("-")[2] for path in tmp_path.iterdir()}) < 2:  # both nodes are at it
                time.sleep(0.02)
            kill()

        losing = threading.Thread(target=lose, daemon=True)
        losing.start()
        found = list(processes.train_each(noted(tmp_path), DATA, KEPT, range(6), 2, Execution(engine=Engine.RAY)))
        losing.join(60)
    started = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
    assert len(started) > len(set(started)) == 6, "some were trained again"
    here = processes.train_each(replace(RECIPE, epochs=100), DATA, KEPT, range(6), 2)
    assert len(found) == 6 and all(same(a, b) for a, b in zip(found, here, strict=True))
