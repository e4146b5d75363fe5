"""Recording: the context manager, ids, checkpoints, kills and full disks."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from neuralyzer.data.rows import Data
from neuralyzer.errors import StorageError, UnknownSubjectError, UsageError
from neuralyzer.models import training, weights
from neuralyzer.registry.history import History
from neuralyzer.registry.record import Recorder, record


def loop(path, data, recipe, steps, every=2, recorded=True):
    """A training loop as a user writes it."""
    module = recipe.module()
    optimizer = torch.optim.Adam(module.parameters())
    with record(path, module, data, every=every, optimizer=optimizer if recorded else None) as run:
        for at, (x, y, ids) in enumerate(data.loader(3, seed=1, ids=True)):
            if at == steps:
                break
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
            run.step(ids)
    return module


def test_a_loop_of_ones_own_is_recorded(tmp_path, data, recipe):
    module = loop(tmp_path / "run", data, recipe, steps=3)
    history = History.read(tmp_path / "run")
    expected = [ids.tolist() for _, _, ids in data.loader(3, seed=1, ids=True)][:3]
    assert [data.ids[positions].tolist() for positions in history.batches_from(0)] == expected
    assert history.finished and history.weights == weights.digest(module) and history.data == data.digest
    assert [(step, has) for step, _, has in history.checkpoints] == [(0, True), (2, True), (3, True)]
    assert weights.digest(history.load(history.checkpoints[-1], recipe.module())) == history.weights
    assert not list(tmp_path.rglob("*.part"))


def test_without_an_optimizer_only_weights_are_kept(tmp_path, data, recipe):
    loop(tmp_path / "run", data, recipe, steps=1, recorded=False)
    assert [has for _, _, has in History.read(tmp_path / "run").checkpoints] == [False, False]


@pytest.mark.parametrize(
    "ids", [["2", "0"], [2, 0], np.array([2, 0]), np.array(["2", "0"]), torch.tensor([2, 0]), (np.int64(2), "0")]
)
def test_ids_may_be_text_or_numbers(tmp_path, recipe, ids):
    data = Data.from_arrays(np.zeros((3, 2)), [0, 1, 0])
    with record(tmp_path / "run", recipe.module(), data) as run:
        run.step(ids)
    assert [positions.tolist() for positions in History.read(tmp_path / "run").batches_from(0)] == [[2, 0]]


@pytest.mark.parametrize("odd", ["r10", "", "zz", "R1", 3])
def test_an_unknown_id_is_named(tmp_path, data, recipe, odd):
    with record(tmp_path / "run", recipe.module(), data) as run:
        with pytest.raises(UnknownSubjectError, match=f"no row of the data has id '{odd}'"):
            run.step(["r1", odd])
        run.step(["r2"])
    assert [positions.tolist() for positions in History.read(tmp_path / "run").batches_from(0)] == [[2]]


def test_an_exception_passes_and_leaves_the_run_unfinished_with_all_its_steps(tmp_path, data, recipe):
    def train():
        with record(tmp_path / "run", recipe.module(), data, every=100) as run:
            run.step(["r1"])
            run.step(["r2", "r0"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    history = History.read(tmp_path / "run")
    assert not history.finished and history.weights is None
    assert [positions.tolist() for positions in history.batches_from(0)] == [[1], [2, 0]]


def test_a_run_is_never_overwritten(tmp_path, data, recipe):
    loop(tmp_path / "run", data, recipe, steps=1)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds a training run already"):
        loop(tmp_path / "run", data, recipe, steps=1)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_misuse_is_named(tmp_path, data, recipe):
    with pytest.raises(UsageError, match="at least 1"):
        Recorder(tmp_path / "run", data, every=0)
    recorder = Recorder(tmp_path / "run", data)
    with pytest.raises(UsageError, match="no begin"):
        recorder.step(np.array([0]))
    recorder.begin(recipe.module())
    with pytest.raises(UsageError, match="names row 10; the data has 10"):
        recorder.step(np.array([0, 10]))


def test_recording_changes_no_weight(tmp_path, data, recipe):
    recorder = Recorder(tmp_path / "run", data, every=1)
    watched = training.train(recipe, data, observer=recorder)
    assert weights.digest(watched) == weights.digest(training.train(recipe, data))


def test_a_write_that_failed_half_way_is_written_again(tmp_path, data, recipe, monkeypatch):
    recorder = Recorder(tmp_path / "run", data, every=100)
    recorder.begin(recipe.module())
    recorder.step(np.array([1, 2]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StorageError, match=r"order\.bin: No space left"):
            recorder.flush()
    assert list(History.read(tmp_path / "run").batches_from(0)) == []
    recorder.step(np.array([3]))
    recorder.flush()
    assert [positions.tolist() for positions in History.read(tmp_path / "run").batches_from(0)] == [[1, 2], [3]]


def test_a_disk_full_from_the_start_begins_no_run(tmp_path, data, recipe, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StorageError):
            Recorder(tmp_path / "run", data).begin(recipe.module())
    assert not (tmp_path / "run" / "run.json").exists() and not list(tmp_path.rglob("*.part"))
    Recorder(tmp_path / "run", data).begin(recipe.module())


KILLED = """
import os, signal, sys
import numpy as np, torch
from neuralyzer.data.rows import Data
from neuralyzer.registry.record import record
data = Data.from_arrays(np.zeros((100, 2)), np.zeros(100, int))
module = torch.nn.Linear(2, 2)
with record(sys.argv[1], module, data, every=3, optimizer=torch.optim.Adam(module.parameters())) as run:
    for step in range(8):
        run.step([step, step + 50])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_readable_up_to_its_last_checkpoint(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run")], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    history = History.read(tmp_path / "run")
    assert not history.finished and history.steps == 6
    assert [checkpoint.step for checkpoint in history.checkpoints] == [0, 3, 6]
    assert history.newest_clean([54]).step == 3 and history.newest_clean([99]).step == 6


def full_disk(*_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
