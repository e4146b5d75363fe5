import math
from types import SimpleNamespace

import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.methods.task import Task
from neuralyzer.methods.tuner import Tuner, beside
from neuralyzer.models import weights


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
    monkeypatch.setattr("neuralyzer.methods.tuner.reading.mean_loss", lambda *_: loss_of(last["s"]))
    return make


def test_among_settings_without_a_trace_the_least_harmful_wins(tuner, monkeypatch):
    make = played(tuner, monkeypatch, z_of=lambda s: abs(s - 2) / 4, loss_of=lambda s: s)
    tuner.attempt(({"s": s} for s in (0.0, 1.0, 2.0, 3.0)), make)
    assert tuner.best.settings == {"s": 0.0}  # z .5 is a quarter of the critical value, and it costs least


def test_where_every_setting_shows_a_trace_the_smallest_wins(tuner, monkeypatch):
    make = played(tuner, monkeypatch, z_of=lambda s: 3 + s, loss_of=lambda s: -s)
    tuner.attempt(({"s": s} for s in (2.0, 1.0, 3.0)), make)
    assert tuner.best.settings == {"s": 1.0}


def test_a_setting_is_tried_once(tuner, monkeypatch):
    make = played(tuner, monkeypatch, z_of=lambda s: s, loss_of=lambda s: s)
    tuner.attempt([{"s": 1.0}, {"s": 1.0}, {"s": 2.0}], make)
    assert len(tuner.trials) == 2


def test_lost_utility_rules_a_setting_out(tuner, monkeypatch):
    monkeypatch.setattr("neuralyzer.methods.tuner.reading.utility", lambda *_: 0.0)
    make = played(tuner, monkeypatch, z_of=lambda s: 0.0, loss_of=lambda s: 0.0)
    tuner.attempt([{"s": 1.0}], make)
    assert math.isinf(tuner.best.z)


def test_beside_gives_geometric_means():
    assert beside([1.0, 4.0, 16.0], 4.0) == pytest.approx([2.0, 8.0])
    assert beside([1.0, 4.0, 16.0], 1.0) == pytest.approx([2.0])
