"""Predicted seconds: rates times passes, and rates that are timed on this machine."""

import math
import time
from dataclasses import fields, replace

import pytest
import torch

import neuralyzer as nz
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.signals.margin import Margin
from neuralyzer.unlearning import cost
from neuralyzer.unlearning.cost import Rates, probe
from neuralyzer.unlearning.method import Passes
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task
from tests.conftest import small_recipe


def test_seconds_are_rates_times_passes():
    values = {
        "steps": 2,
        "partial": 19,
        "gradients": 3,
        "singles": 13,
        "products": 5,
        "solves": 17,
        "factorings": 23,
        "forwards": 7,
        "readings": 11,
    }
    rates = Rates(**{name.removesuffix("s"): value for name, value in values.items()})
    assert rates.seconds(Passes()) == 0
    for name, value in values.items():
        assert rates.seconds(Passes(**{name: 10})) == 10 * value
    assert rates.seconds(Passes(1, 1, 1, 1, 1, 1, 1, 1, 1)) == sum(values.values())
    both = Passes(steps=1, products=2) + Passes(steps=3, gradients=4, forwards=1, readings=1) * 0.5
    assert rates.seconds(both) == 2.5 * 2 + 2 * 3 + 2 * 5 + 0.5 * 7 + 0.5 * 11
    assert len(fields(Rates)) == len(fields(Passes)) == len(values), "a new kind of work needs a rate of its own"


def test_every_kind_of_work_is_timed(task, monkeypatch):
    monkeypatch.setattr(Task, "factors_kept", False)  # whoever used this pool before
    own = task()
    before = weights.digest(own.model)
    rates = probe(own)
    assert all(0 < getattr(rates, field.name) < 1 for field in fields(rates))
    assert rates.forward < rates.gradient < rates.single, "a forward pass is part of a gradient, and many share one"
    assert weights.digest(own.model) == before


class Branching(torch.nn.Module):
    """Looks at its numbers to decide, which ``torch.func`` cannot map over rows."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x) if float(x.sum()) > -1e9 else self.layer(-x)


class Scaled(torch.nn.Module):
    """Learns weights of its own, which are no layer's."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.linspace(-1, 1, 640).reshape(64, 10))

    def forward(self, x):
        return x @ self.scale


def test_a_module_that_cannot_be_mapped_over_rows_is_read_row_by_row(task):
    own = task(references=None)
    recipe = replace(own.oracle.recipe, build=Branching)
    rates = probe(Task(replace(own.oracle, model=recipe.module(), recipe=recipe), own.request))
    assert 0 < rates.single < 1 and 0 < rates.step < 1
    assert rates.seconds(Passes(singles=3)) == pytest.approx(3 * rates.single)


def test_a_reading_is_timed_as_often_as_it_is_made(task, monkeypatch):
    """By a clock that a signal moves by half a second: what a meter knows of a model already is no reading."""
    now, own = [0.0], task()
    measure = Margin.measure

    def told():
        now[0] += 1e-4
        return now[0]

    def moving(*given):
        now[0] += 0.5
        return measure(*given)

    monkeypatch.setattr(Margin, "measure", moving)
    monkeypatch.setattr(cost.time, "perf_counter", told)
    assert probe(own).reading == pytest.approx(0.5, abs=0.01)


def test_without_references_no_reading_is_timed(task):
    assert probe(task(references=None)).reading == 0


def test_the_timer_tells_the_time():
    assert cost._seconds(lambda: time.sleep(0.02)) == pytest.approx(0.02, abs=0.015)


def test_training_code_of_ones_own_is_timed_by_the_original(setting):
    """Nobody can time a step of it; what the original's training took says what a retraining will."""
    oracle = setting[0]
    recipe = small_recipe(train=lambda data, seed, device, progress: weights.clone(oracle.model))
    request = nz.ErasureRequest(subjects=["c0"])
    known = nz.TrainedModel(oracle.model, recipe, oracle.data, oracle.holdout, seconds=80.0)
    rates = probe(Task(known, request))
    assert rates.step == pytest.approx(80.0 / 800)
    passes = catalogue.make("retrain").passes(Task(known, request))
    assert rates.seconds(passes) == pytest.approx(80.0 * 19 / 20)  # 460 rows are 19 batches, 500 are 20
    assert math.isinf(probe(Task(replace(known, seconds=None), request)).step)


@pytest.mark.slow
def test_predicted_seconds_are_near_those_measured(task, monkeypatch):
    """By the processor's clock: what else the machine does is no matter."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    for name, times in (("retrain", 3), ("influence", 3)):
        method = catalogue.make(name)
        taken, predicted = [], []
        for _ in range(times):
            own = task()
            passes = method.passes(own) + (Repair().passes(own) if method.repaired else Passes())
            assert own.traceable  # the tables of the null are made once a pool, not once a request
            predicted.append(probe(own).seconds(passes))
            began = time.perf_counter()
            module = method.unlearn(own)
            if method.repaired:
                Repair().mend(module, own)
            taken.append(time.perf_counter() - began)
        assert min(taken) / 3 < sorted(predicted)[1] < 3 * max(taken), (name, taken, predicted)


def test_the_time_of_factors_is_predicted_from_two_samples(task, monkeypatch):
    """Ten milliseconds for the eigenvectors and one a row, by a clock that only making them moves."""
    now, own = [0.0], task()

    def making(model, objective, data):
        now[0] += 0.01 + 0.001 * len(data)
        return ekfac(model, objective, data)

    monkeypatch.setattr(cost, "ekfac", making)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    seconds, factors = cost._factored(own)
    assert seconds == pytest.approx(0.01 + 0.001 * len(own.oracle.data)) and factors.blocks


def test_kept_factors_cost_nothing_more(task, monkeypatch):
    own = task()
    own.factors = ekfac(own.model, own.objective, own.oracle.data)  # as if read
    monkeypatch.setattr(Task, "factors_kept", True)
    assert probe(own).factoring == 0 < probe(own).solve
    method = catalogue.make("datamodel-matching")
    assert method.passes(own).factorings == 0
    monkeypatch.setattr(Task, "factors_kept", False)
    assert method.passes(own).factorings == 1


def test_a_model_without_factors_is_planned_without_what_needs_them(task):
    own = task(references=None)
    recipe = replace(own.oracle.recipe, build=Scaled)
    rates = probe(Task(replace(own.oracle, model=recipe.module(), recipe=recipe), own.request))
    assert math.isinf(rates.factoring) and 0 < rates.step < 1 and 0 < rates.solve < 1
