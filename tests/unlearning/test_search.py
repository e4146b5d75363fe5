"""The shared search: what it tries, what it keeps, and that a kill changes nothing."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import NotFiniteError
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.unlearning import search
from neuralyzer.unlearning.method import Range, space
from neuralyzer.unlearning.task import Task
from neuralyzer.unlearning.tuner import RULED_OUT, Trial, Tuner


@pytest.fixture
def task(made_world):
    return Task(made_world.oracle, ErasureRequest(subjects=["c0"]), made_world.references())


class Clock:
    """Kills the search in its ``n``-th trial."""

    def __init__(self, after):
        self.left = after

    def start(self, step, total): ...
    def show(self, **values): ...
    def finish(self): ...

    def advance(self, amount=1):
        self.left -= amount
        if self.left < 0:
            raise KeyboardInterrupt


def test_the_first_trial_is_the_papers_defaults_and_the_rest_lie_in_the_space(task):
    method = catalogue.make("ssd")
    found = search.search(method, task, trials=6)
    assert [found.trials[0].settings[name] for name in space(method)] == [method.selection, method.strength]
    assert len(found.trials) == 6 and len({str(tried.settings) for tried in found.trials}) == 6
    for tried in found.trials:
        for name, own in space(method).items():
            assert own.low <= tried.settings[name] <= own.high


def test_the_best_by_the_tuning_split_is_kept_and_its_settings_give_it_again(task):
    found = search.search(catalogue.make("finetune", epochs=3), task, trials=5)
    best = min(found.trials, key=lambda tried: tried.score)
    looks = search.evaluated_passes(catalogue.make("finetune", epochs=3))
    assert found.settings == best.settings and found.settings["epochs"] == looks[best.scores.index(best.score)]
    again = catalogue.make("finetune", **found.settings).unlearn(task)
    assert weights.digest(again) == weights.digest(found.module)
    tuner = Tuner(task)
    own = tuner.evaluate({}, found.module)
    assert best.z == own.z / tuner.critical and best.loss == own.loss


def test_a_killed_search_goes_on_to_the_same_weights(task, tmp_path):
    method = catalogue.make("finetune", epochs=2)
    whole = search.search(method, task, trials=6)
    with pytest.raises(KeyboardInterrupt):
        search.search(method, task, Clock(3), trials=6, notes=tmp_path)
    kept = (tmp_path / "trials.json").read_text()
    assert kept.count('"settings"') == 4
    again = search.search(method, task, trials=6, notes=tmp_path)
    assert [tried.settings for tried in again.trials] == [tried.settings for tried in whole.trials]
    assert weights.digest(again.module) == weights.digest(whole.module)
    finished = search.search(method, task, trials=6, notes=tmp_path)
    assert weights.digest(finished.module) == weights.digest(whole.module) and finished.settings == whole.settings


def test_it_stops_when_the_time_is_up_with_the_best_so_far(task):
    task.start(0.0)
    found = search.search(catalogue.make("finetune"), task, trials=6)
    assert len(found.trials) == 1 and len(found.trials[0].scores) == 1
    assert weights.digest(found.module) != weights.digest(task.model)


def test_the_score_is_the_tuners_order(task):
    """z decides down to a quarter of its critical value; below that, the loss."""
    tuner = Tuner(task)
    tuner.critical = 2.0
    of = lambda z, loss, lost=0.0: tuner.score(Trial({}, z, loss, lost, task.model))
    points = [(5.0, 0.1), (0.6, 9.0), (0.5, 9.0), (0.1, 3.0), (0.4, 1.0), (0.0, 0.0)]
    scores = [of(z, loss) for z, loss in points]
    assert scores == sorted(scores, reverse=True) and scores[0] == 2.5 and scores[1] == 0.3
    assert of(0.1, 1.0) == of(0.45, 1.0) and of(0.1, 1.0, 0.5) == of(0.1, 1.0) + 0.5
    assert of(math.inf, 0.1) == of(1.0, math.nan) == of(1.0, 1.0, math.inf) == RULED_OUT


@dataclass(frozen=True)
class Brittle:
    """Breaks the model above a strength, and stands for no algorithm."""

    strength: float = 5.0
    name: ClassVar[str] = "brittle"
    repaired: ClassVar[bool] = False
    space: ClassVar = {"strength": Range(1e-6, 10.0)}

    def unlearn(self, task, progress=None):
        if self.strength > 1:
            raise NotFiniteError("too strong")
        module = weights.clone(task.model)
        with torch.no_grad():
            for value in module.parameters():
                value.mul_(1 - self.strength / 100)
        return module


def test_a_setting_that_breaks_the_model_is_ruled_out_and_the_search_goes_on(task):
    found = search.search(Brittle(), task, trials=6)
    assert found.trials[0].score == RULED_OUT and math.isinf(found.trials[0].z)
    assert found.settings["strength"] < 1 and found.trials[0].to_dict()["z"] is None
    assert search.Tried.from_dict(found.trials[0].to_dict()) == found.trials[0]


def test_each_better_state_is_told_in_order(task):
    told = []
    method = catalogue.make("finetune", epochs=2)
    found = search.search(method, task, trials=4, on_improvement=lambda *own: told.append(own))
    assert [own[0] for own in told] == sorted(own[0] for own in told)
    assert told[-1][1] is found.module and told[-1][2] == found.settings


def test_it_looks_after_powers_of_two_and_the_last_pass(task):
    assert [search.evaluated_passes(catalogue.make("finetune", epochs=n)) for n in (1, 2, 5, 8, 10)] == [
        [1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8], [1, 2, 4, 8, 10],
    ]  # fmt: skip
    assert search.evaluated_passes(catalogue.make("ssd")) == [1]
    tried = search.search(catalogue.make("finetune", epochs=5), task, trials=1).trials[0]
    assert len(tried.scores) == 4


def test_the_work_of_a_search_counts_its_trials_and_readings(task):
    method = catalogue.make("ssd")
    own, whole = method.passes(task), search.passes(method, task, 10)
    assert whole.gradients == 10 * own.gradients and whole.readings == 10
    gradual = catalogue.make("finetune", epochs=5)
    assert search.passes(gradual, task, 1).readings == 4
    assert search.passes(gradual, task, 11).steps == pytest.approx((1 + 10 * search.TAKEN) * gradual.passes(task).steps)


def test_every_space_names_hyperparameters_and_holds_the_defaults():
    for name in catalogue.names():
        method = catalogue.make(name)
        for key, own in space(method).items():
            assert own.low <= getattr(method, key) <= own.high, (name, key)
            replace(method, **{key: own.low})
