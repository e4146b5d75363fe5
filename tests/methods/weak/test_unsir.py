"""UNSIR against its equations, written out step by step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak import unsir
from neuralyzer.models import training, weights
from neuralyzer.models.regression import Regression
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Silent
from neuralyzer.unlearning import training_loop
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods.contract import FORGOTTEN, RATE, RECIPE, ROWS, Tied, frozen
from tests.methods.small import untrained

CLASSES = 3
EIGHT = replace(RECIPE, batch_size=8)


def by_hand(task, label, generator, steps, penalty):
    """Adam with its default moments, written out, up the loss of a label and down the squared norm."""
    noise = torch.randn(8, 5, generator=generator)
    first, second = torch.zeros_like(noise), torch.zeros_like(noise)
    for step in range(1, steps + 1):
        noise.requires_grad_()
        away = nn.functional.cross_entropy(task.model(noise), torch.full((8,), label))
        total = -away + penalty * (noise**2).sum() / 8
        (gradient,) = torch.autograd.grad(total, noise)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        change = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        noise = (noise - 0.1 * change).detach()
    return noise


def test_noise_climbs_its_classs_loss():
    task = untrained(EIGHT)
    method = catalogue.make("unsir", penalty=0.3)
    found = method._noise(task, 1, torch.Generator().manual_seed(0), Silent())
    torch.testing.assert_close(found, by_hand(task, 1, torch.Generator().manual_seed(0), 40, 0.3), rtol=1e-3, atol=1e-4)
    started = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    wrong = torch.ones(8, dtype=torch.long)
    free = catalogue.make("unsir", penalty=0.0)._noise(task, 1, torch.Generator().manual_seed(0), Silent())
    losses = [nn.functional.cross_entropy(task.model(noise), wrong).item() for noise in (started, found, free)]
    assert losses[0] < losses[1] < losses[2]


def test_impair_and_repair_written_out():
    """Plain SGD on the shuffled batches: noise with its class among retained rows, then retained rows alone."""
    task = untrained(EIGHT)
    x, y = task.retain.gather(np.arange(len(task.retain)))
    generator = torch.Generator().manual_seed(0)
    noise = torch.cat([by_hand(task, label, generator, 40, 0.1) for label in range(CLASSES)])
    labels = torch.arange(CLASSES).repeat_interleave(8)
    assert set(task.forget.y.tolist()) == set(range(CLASSES))
    module = weights.clone(task.model)
    inputs, targets = torch.cat([noise, noise, x]), torch.cat([labels, labels, y])
    for rows, wanted, rate, seed in ((inputs, targets, 0.5, 0), (x, y, 0.25, training_loop.TURN)):
        for batch in training.order(len(rows), 1, 8, seed):
            loss = nn.functional.cross_entropy(module(rows[batch]), wanted[batch])
            gradients = torch.autograd.grad(loss, list(module.parameters()))
            for own, gradient in zip(module.parameters(), gradients, strict=True):
                own.data -= rate * RATE * gradient
    made = catalogue.make("unsir", copies=2, impair_rate=0.5, repair_rate=0.25).unlearn(task)
    for own, expected in zip(made.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=2e-5)


def test_steps_are_counted_as_they_are_taken(monkeypatch):
    task, taken = untrained(replace(RECIPE, batch_size=4)), []
    for kind in (torch.optim.SGD, torch.optim.Adam):
        step = kind.step
        monkeypatch.setattr(kind, "step", lambda self, *given, step=step: taken.append(1) or step(self, *given))
    method = catalogue.make("unsir", copies=3, climb=5)
    method.unlearn(task)
    assert len(taken) == method.passes(task).steps


def test_the_sample_is_bounded_for_each_class():
    task = untrained(count=200)
    chosen = unsir._sample(task, 7)
    assert torch.bincount(task.retain.y[torch.from_numpy(chosen)]).tolist() == [7, 7, 7]
    assert len(set(chosen)) == 21 and len(unsir._sample(task, 1000)) == len(task.retain)


def test_frozen_tied_and_normalised_models_and_seeds():
    task = untrained(replace(RECIPE, build=frozen, batch_size=8))
    before, state = weights.digest(task.model), torch.get_rng_state()
    made, again = (catalogue.make("unsir").unlearn(task) for _ in range(2))
    assert (torch.get_rng_state() == state).all() and not made.training
    assert weights.digest(made) == weights.digest(again) != weights.digest(task.model) == before
    assert (made[0].weight == task.model[0].weight).all() and not made[0].weight.requires_grad
    other = catalogue.make("unsir").unlearn(untrained(task.oracle.recipe, seed=1))
    assert weights.digest(other) != weights.digest(made)
    tied = catalogue.make("unsir", climb=2, copies=1).unlearn(untrained(replace(RECIPE, build=Tied)))
    assert tied.first.weight is tied.second.weight


def test_without_time_it_takes_a_step_of_each_kind(monkeypatch):
    task, taken = untrained(EIGHT), []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *given: taken.append(1) or step(self, *given))
    task.start(0.0)
    made = catalogue.make("unsir").unlearn(task)
    assert len(taken) == 2 and not made.training


def test_what_it_cannot_work_on():
    real = untrained(replace(RECIPE, build=lambda: nn.Linear(5, 1), objective=Regression()))
    assert obstacle(catalogue.make("unsir"), real) == "unsir works on classes, and this model predicts real numbers"
    words = Data.from_arrays(np.arange(ROWS)[:, None] % 9, np.arange(ROWS) % 3, np.arange(ROWS) < FORGOTTEN)
    recipe = replace(RECIPE, build=lambda: nn.Sequential(nn.Embedding(9, 3), nn.Flatten()))
    task = Task(TrainedModel(recipe.module(), recipe, words, None), ErasureRequest(subjects=["True"]))
    assert obstacle(catalogue.make("unsir"), task) == "unsir learns noise, and these rows' features are whole numbers"
    with pytest.raises(UsageError, match="these rows' features are whole numbers"):
        catalogue.make("unsir").unlearn(task)
    with pytest.raises(UsageError, match="unsir takes climb, copies and sample of at least 1"):
        catalogue.make("unsir", copies=0)
