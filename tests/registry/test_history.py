"""Histories read back: who was seen when, which checkpoints are clean, replay, damage."""

import json

import numpy as np
import pytest
import torch

from neuralyzer.errors import UnreadableError, UsageError, WeightsError
from neuralyzer.models import training
from neuralyzer.registry.history import History, runs
from neuralyzer.registry.record import Recorder

STEPS = [[0, 1, 2], [3, 4], [1, 5], [0], [6, 7, 5]]  # rows 8 and 9 are never seen


@pytest.fixture
def run(workspace, data, recipe):
    """Five steps by hand with checkpoints at 0, 2, 4 and, at the end, 5."""
    module = recipe.module()
    recorder = Recorder(workspace.runs / "one", data, every=2, recipe=recipe.digest, seed=7)
    recorder.begin(module)
    for positions in STEPS:
        with torch.no_grad():
            module[0].bias += 1  # so that each checkpoint tells its step
        recorder.step(np.array(positions))
    recorder.finish(module)
    return History.read(workspace.runs / "one")


def test_a_history_says_what_was_trained(run, data, recipe):
    assert (run.data, run.rows, run.recipe, run.seed) == (data.digest, 10, recipe.digest, 7)
    assert run.finished and run.name == "one" and run.steps == 5


def test_first_seen(run):
    assert run.first_seen(range(10)).tolist() == [0, 0, 0, 1, 1, 2, 4, 4, -1, -1]
    assert run.first_seen([7, 0]).tolist() == [4, 0] and run.first_seen([]).tolist() == []
    assert run.earliest([8, 5, 3]) == 1 and run.earliest([8, 9]) is None
    for odd in (-1, 10):
        with pytest.raises(UsageError, match=f"trained on 10 rows; none stands at {odd}"):
            run.first_seen([0, odd])


@pytest.mark.parametrize(
    ("positions", "clean", "newest"),
    [([0], [0], 0), ([3], [0], 0), ([5], [0, 2], 2), ([6, 7], [0, 2, 4], 4), ([6, 3], [0], 0), ([8], [0, 2, 4, 5], 5)],
)
def test_a_checkpoint_has_seen_the_rows_of_the_steps_before_it(run, positions, clean, newest):
    assert [checkpoint.step for checkpoint in run.clean(positions)] == clean
    assert run.newest_clean(positions).step == newest


def test_checkpoints_removed_by_hand_are_not_offered(run):
    run.checkpoints[0].path.unlink()
    again = History.read(run.path)
    assert [checkpoint.step for checkpoint in again.checkpoints] == [2, 4, 5]
    assert again.newest_clean([0]) is None


def test_steps_are_replayed_from_any_step(run):
    for start in range(6):
        assert [positions.tolist() for positions in run.batches_from(start)] == STEPS[start:]


def test_a_checkpoint_holds_the_weights_of_its_step(run, recipe):
    for checkpoint in run.checkpoints:
        module = run.load(checkpoint, recipe.module(seed=99))
        assert torch.allclose(module[0].bias, recipe.module()[0].bias + checkpoint.step)
    assert not any(checkpoint.has_optimizer for checkpoint in run.checkpoints)
    with pytest.raises(UsageError, match="without its optimizer"):
        run.load(run.checkpoints[0], module, torch.optim.SGD(module.parameters(), 0.1))


@pytest.mark.parametrize(
    ("file", "cut", "whole"),
    [("order.bin", 1, 4), ("order.bin", 12, 4), ("order.bin", 13, 3), ("order.bin", 43, 0), ("order.bin", 44, 0)]
    + [("steps.bin", 1, 4), ("steps.bin", 4, 4), ("steps.bin", 5, 3), ("steps.bin", 20, 0)],
)
def test_a_tail_cut_anywhere_leaves_whole_steps(run, file, cut, whole):
    path = run.path / file
    path.write_bytes(path.read_bytes()[:-cut])
    again = History.read(run.path)
    assert [positions.tolist() for positions in again.batches_from(0)] == STEPS[:whole] and again.steps == whole


def test_a_checkpoint_newer_than_the_recorded_steps_is_not_called_clean(run):
    (run.path / "steps.bin").write_bytes((run.path / "steps.bin").read_bytes()[:8])
    again = History.read(run.path)
    assert again.steps == 2 and [checkpoint.step for checkpoint in again.checkpoints] == [0, 2, 4, 5]
    assert again.newest_clean([8]).step == 2 and again.newest_clean([6]).step == 2


def test_without_any_step_on_the_disk_the_start_is_clean(run):
    (run.path / "order.bin").unlink()
    (run.path / "steps.bin").unlink()
    again = History.read(run.path)
    assert again.steps == 0 and again.newest_clean([0]).step == 0 and list(again.batches_from(0)) == []


def test_damage_is_named(run, recipe):
    checkpoint = run.checkpoints[1]
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"00000002\.safetensors .*truncated"):
        run.load(checkpoint, recipe.module())
    np.full(3, 10, np.uint32).tofile(run.path / "order.bin")
    with pytest.raises(UnreadableError, match="names row 10 of 10"):
        History.read(run.path)
    facts = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({key: facts[key] for key in facts if key != "rows"}))
    with pytest.raises(UnreadableError, match=r"does not describe a training run \(no 'rows'\)"):
        History.read(run.path)
    with pytest.raises(UnreadableError, match="does not exist"):
        History.read(run.path / "none")


def test_runs_are_listed_by_name(workspace, run, data, recipe):
    (workspace.runs / "not a run").mkdir()
    Recorder(workspace.runs / "another", data).begin(recipe.module())
    assert [(history.name, history.finished) for history in runs(workspace)] == [("another", False), ("one", True)]


def test_replay_from_any_checkpoint_gives_the_final_weights_bit_by_bit(workspace, data, recipe):
    recorder = Recorder(workspace.runs / "two", data, every=2)
    trained = training.train(recipe, data, observer=recorder)
    recorder.finish(trained)
    history = History.read(workspace.runs / "two")
    assert [checkpoint.step for checkpoint in history.checkpoints] == [0, 2, 4, 6, 8, 9]
    for checkpoint in history.checkpoints:
        module = recipe.module(seed=123)
        optimizer = recipe.optimizer(training.trainable(module))
        history.load(checkpoint, module, optimizer)
        steps = history.batches_from(checkpoint.step)
        assert len(list(training.run_steps(recipe, module, optimizer, data, steps, recipe.seed))) == 9 - checkpoint.step
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, trained.state_dict()[name])
