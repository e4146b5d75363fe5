import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import RULED_OUT, Tuner, geometric_neighbours


@pytest.fixture
def tuner(made_world, monkeypatch):
    task = Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references())
    return Tuner(task)


def played(tuner, monkeypatch, z_of, loss_of):
    """Let a setting's z and loss be given functions; what is tried is a copy of the original."""
    last = {}

    def make(settings):
        last.update(settings)
        return weights.clone(tuner.task.model)

    joint = lambda module: SimpleNamespace(joint=SimpleNamespace(statistic=z_of(last["s"]), critical=2.0))
    monkeypatch.setattr(tuner.task, "trace", joint)
    monkeypatch.setattr("neuralyzer.unlearning.tuner.reading.mean_loss", lambda *_: loss_of(last["s"]))
    return make


def test_among_settings_without_a_trace_the_least_harmful_wins(tuner, monkeypatch):
    make = played(tuner, monkeypatch, z_of=lambda s: abs(s - 2) / 4, loss_of=lambda s: s)
    tuner.attempt(({"s": s} for s in (0.0, 1.0, 2.0, 3.0)), make)
    assert tuner.best.settings == {"s": 0.0}  # z .5 is a quarter of the critical value, and it costs least


def test_where_every_setting_shows_a_trace_the_smallest_wins(tuner, monkeypatch):
    make = played(tuner, monkeypatch, z_of=lambda s: 3 + s, loss_of=lambda s: -s)
    tuner.attempt(({"s": s} for s in (2.0, 1.0, 3.0)), make)
    assert tuner.best.settings == {"s": 1.0}


def test_a_class_that_goes_whole_is_no_utility(made_world):
    oracle = made_world.oracle
    of = lambda request: np.unique(Task(oracle, request, made_world.references()).tuning_holdout.labels)
    every, rest = of(ErasureRequest(subjects=["c0"])), of(ErasureRequest(classes=["1"]))
    assert list(rest) == [label for label in every if label != "1"] and "1" in every


def test_a_setting_is_tried_once(tuner, monkeypatch):
    make = played(tuner, monkeypatch, z_of=lambda s: s, loss_of=lambda s: s)
    tuner.attempt([{"s": 1.0}, {"s": 1.0}, {"s": 2.0}], make)
    assert len(tuner.trials) == 2


def test_lost_utility_counts_like_a_trace(tuner, monkeypatch):
    lost = {0.0: 0.0, 1.0: 1.6, 2.0: 3.0}  # of what is allowed
    utility = lambda module, *_: tuner._before - tuner.allowed * lost[tried[0]]
    tried = []
    monkeypatch.setattr("neuralyzer.unlearning.tuner.reading.utility", utility)
    make = played(tuner, monkeypatch, z_of=lambda s: 2.0 - s, loss_of=lambda s: 1.0)
    tuner.attempt([{"s": s} for s in lost], lambda settings: (tried.insert(0, settings["s"]), make(settings))[1])
    assert [trial["lost"] for trial in tuner.task.tried[-3:]] == pytest.approx([0.0, 0.6, 2.0])
    assert tuner.best.settings == {"s": 0.0}  # scores 1, .5 + .6 and 2 and more


def test_utility_is_read_on_rows_that_no_model_saw(tuner):
    outside, holdout = tuner.task.tuning_holdout, tuner.task.oracle.holdout
    assert outside.ids.tolist() == holdout.ids[::2].tolist() and not set(outside.ids) & set(tuner.task.oracle.data.ids)


def test_what_goes_with_the_rows_is_allowed(made_world):
    task = Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references())
    split = task.references
    never = ~split.values.keep[:, task.parts[0].subject]
    worse = replace(split, utilities=np.where(never, 0.6, 0.8))
    task.references = worse
    assert task.predicted_loss == pytest.approx(worse.utilities.mean() - 0.6)
    limit = task.objective.max_utility_loss
    assert Tuner(task).allowed == pytest.approx(2 * limit + task.predicted_loss)
    assert Tuner(task, repaired=True).allowed == pytest.approx(4 * limit + task.predicted_loss)
    task.references = replace(split, utilities=np.where(never, 0.8, 0.6))
    assert task.predicted_loss == 0.0


def test_what_is_not_finite_is_ruled_out(tuner):
    module = weights.clone(tuner.task.model)
    with torch.no_grad():
        next(module.parameters()).fill_(math.nan)
    trial = tuner.evaluate({}, module)
    assert tuner.score(trial) == RULED_OUT and tuner.task.tried[-1]["z"] is None


def test_beside_gives_geometric_means():
    assert geometric_neighbours([1.0, 4.0, 16.0], 4.0) == pytest.approx([2.0, 8.0])
    assert geometric_neighbours([1.0, 4.0, 16.0], 1.0) == pytest.approx([2.0])
