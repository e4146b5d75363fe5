"""Rewind to delete against gradient descent written out, and its bound against a real retraining."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.models.regression import Regression
from neuralyzer.unlearning.method import obstacle
from neuralyzer.unlearning.task import Task
from tests.methods.contract import FORGOTTEN, RATE, RECIPE, ROWS, Tied
from tests.methods.small import recorded, rows

STEPS = 10
FULL = replace(RECIPE, epochs=STEPS, batch_size=ROWS)
LINEAR = replace(FULL, build=lambda: nn.Linear(5, 3))
REAL = replace(FULL, build=lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)), objective=Regression())


def constants(data):
    """Of a linear softmax model: the Hessian is at most ``|x|^2 / 2``, a gradient at most ``sqrt 2 |x|``."""
    norm = float((data.x.square().sum(1) + 1).max().sqrt())
    return norm**2 / 2, math.sqrt(2) * norm


def descended(module, data, steps, decay=0.0):
    module = weights.clone(module)
    x, y = data.gather(np.arange(len(data)))
    for _ in range(steps):
        real = y.is_floating_point()
        loss = ((module(x) - y) ** 2).sum() / 2 / len(x) if real else nn.functional.cross_entropy(module(x), y)
        parameters = [p for p in module.parameters() if p.requires_grad]
        for own, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            own.data = own.data - RATE * (gradient + decay * own.data)
    return module


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()]).double()


@pytest.mark.parametrize("recipe", [FULL, REAL], ids=["classes", "real"])
def test_all_the_way_back_it_is_retraining_without_noise(tmp_path, recipe):
    task = recorded(tmp_path / "run", recipe)
    method = catalogue.make("rewind", share=1.0)
    assert method.account(task).sigma == 0
    expected = descended(recipe.module(), task.retain, STEPS)
    torch.testing.assert_close(flat(method.unlearn(task)), flat(expected), rtol=0, atol=1e-5)
    assert method.assumptions(task) == [
        "Nobody who looks at the model knows the seed that its noise was drawn with.",
        "What float32 rounds in the recorded and the repeated steps is taken as nothing.",
    ]


def test_the_noise_about_the_rewound_descent(tmp_path):
    """With decay, from the newest checkpoint half-way back: the formula's standard deviation, over seeds."""
    decaying = replace(LINEAR, optimizer=lambda ps: torch.optim.SGD(ps, RATE, weight_decay=0.1))
    task = recorded(tmp_path / "run", decaying, every=4)
    smoothness, gradient = constants(task.oracle.data)
    start = weights.load_into(decaying.module(), tmp_path / "run" / "checkpoints" / "00000004.safetensors")
    expected = flat(descended(start, task.retain, 6, decay=0.1))
    grown = 1 + RATE * smoothness
    apart = 2 * FORGOTTEN * gradient / (ROWS * smoothness) * (grown**4 - 1) * grown**6
    sigma = apart * math.sqrt(2 * math.log(1.25 / 1e-4)) / 0.5
    method = catalogue.make("rewind", epsilon=0.5, delta=1e-4, smoothness=smoothness, gradient=gradient)
    assert method.account(task).sigma == pytest.approx(sigma) and method.account(task).before == 4
    noise = [flat(method.unlearn(Task(task.oracle, task.request, seed=seed))) - expected for seed in range(60)]
    assert scipy.stats.kstest(torch.cat(noise).numpy() / sigma, "norm").pvalue > 1e-3


@pytest.mark.parametrize("back", [0.2, 0.5, 0.8])
def test_the_bound_bounds_the_distance_from_retraining(tmp_path, back):
    task = recorded(tmp_path / "run", LINEAR)
    smoothness, gradient = constants(task.oracle.data)
    account = catalogue.make("rewind", share=back, smoothness=smoothness, gradient=gradient).account(task)
    start = weights.load_into(LINEAR.module(), tmp_path / "run" / "checkpoints" / f"{account.before:08d}.safetensors")
    rewound = descended(start, task.retain, account.after)
    retrained = descended(LINEAR.module(), task.retain, STEPS)
    apart = float((flat(rewound) - flat(retrained)).norm())
    assert account.before + account.after == STEPS and 1e-4 < apart <= account.sensitivity


def test_what_is_not_proved_is_said(tmp_path):
    task = recorded(tmp_path / "run", LINEAR)
    smoothness, gradient = constants(task.oracle.data)
    told = catalogue.make("rewind", smoothness=smoothness, gradient=gradient).assumptions(task)
    assert f"No row's gradient is longer than G = {gradient:.4g}, as given." in told
    measured = catalogue.make("rewind")
    account = measured.account(task)
    assert account.smoothness < smoothness and account.gradient < gradient
    told = measured.assumptions(task)
    where = "measured at checkpoint 4 and at the original; elsewhere it may be larger."
    assert f"The loss is smooth with constant L = {account.smoothness:.4g}, {where}" in told
    assert f"No row's gradient is longer than G = {account.gradient:.4g}, {where}" in told
    for wrong in ({"smoothness": account.smoothness / 2}, {"gradient": account.gradient / 2}):
        with pytest.raises(
            UsageError, match=r"rewind was given (smoothness|gradient)=.*, and at recorded weights it is"
        ):
            catalogue.make("rewind", **wrong).account(task)


def test_without_time_it_takes_a_step_and_its_noise_is_that_of_one(tmp_path):
    task = recorded(tmp_path / "run", FULL)
    task.start(0.0)
    method = catalogue.make("rewind", share=0.5, epsilon=1.0)
    start = weights.load_into(FULL.module(), tmp_path / "run" / "checkpoints" / "00000004.safetensors")
    account = replace(method.account(task), after=1)
    assert account.sensitivity < method.account(task).sensitivity
    noise = flat(method.unlearn(task)) - flat(descended(start, task.retain, 1))
    drawn = torch.randn(len(noise), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise, account.sigma * drawn.double(), rtol=1e-3, atol=1e-4)


def test_frozen_and_tied_models_and_seeds(tmp_path):
    def frozen():
        module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        module[0].requires_grad_(False)
        return module

    task = recorded(tmp_path / "run", replace(FULL, build=frozen))
    before, state = weights.digest(task.model), torch.get_rng_state()
    made, again = (catalogue.make("rewind").unlearn(task) for _ in range(2))
    assert (torch.get_rng_state() == state).all() and not made.training
    assert weights.digest(made) == weights.digest(again) != weights.digest(task.model) == before
    assert (made[0].weight == task.model[0].weight).all() and not made[0].weight.requires_grad
    assert (made[2].weight != task.model[2].weight).all()
    other = catalogue.make("rewind").unlearn(Task(task.oracle, task.request, seed=1))
    assert weights.digest(other) != weights.digest(made)
    tied = catalogue.make("rewind").unlearn(recorded(tmp_path / "tied", replace(FULL, build=Tied)))
    assert tied.first.weight is tied.second.weight


def test_passes_count_the_steps(tmp_path):
    passes = catalogue.make("rewind", share=0.3).passes(recorded(tmp_path / "run", FULL))
    assert passes.gradients == 4 * (ROWS - FORGOTTEN) + 2 * ROWS  # from checkpoint 6, and both ends' gradients


def noisy(x, generator):
    return x


def normed():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def falling(optimizer, steps):
    return torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=steps)


PLAIN = "the theorem is of plain gradient descent, and the recipe's optimizer is another"
CONSTANT = "the theorem has a constant rate and no random numbers, and the recipe has others"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"batch_size": 8}, "the theorem is of steps on all rows, and the recorded steps were on others"),
        ({"optimizer": lambda ps: torch.optim.SGD(ps, 0.1, momentum=0.9)}, PLAIN),
        ({"optimizer": torch.optim.Adam}, PLAIN),
        ({"schedule": falling}, CONSTANT),
        ({"augment": noisy}, CONSTANT),
        ({"build": lambda: nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.1))}, CONSTANT),
        ({"build": normed}, "layer '1' is a BatchNorm, in which a row's loss depends on the other rows"),
        (
            {"build": lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))},
            "layer '1' is a ReLU, whose gradient jumps: the loss is not smooth",
        ),
    ],
)
def test_a_training_that_the_theorem_is_not_of_is_refused(tmp_path, change, expected):
    task, method = recorded(tmp_path / "run", replace(FULL, **change)), catalogue.make("rewind")
    assert obstacle(method, task) == expected and method.passes(task).gradients == 0
    with pytest.raises(UsageError, match="rewind is not possible: "):
        method.unlearn(task)


def test_obstacles_of_the_record_and_bad_input(tmp_path):
    task, method = recorded(tmp_path / "run", FULL), catalogue.make("rewind")
    assert obstacle(method, task) is None
    bare = Task(replace(task.oracle, run=None), task.request)
    assert obstacle(method, bare) == "the training was not recorded, so there is no checkpoint"
    other = Task(replace(task.oracle, data=rows(count=30)), task.request)
    assert obstacle(method, other) == "the recorded training was on other rows than the model's present ones"
    for name in ("00000000", "00000002", "00000004"):
        (tmp_path / "run" / "checkpoints" / f"{name}.safetensors").unlink()
    assert obstacle(method, Task(task.oracle, task.request)) == "no checkpoint lies 5 steps before the end"
    for wrong in ({"share": 0.0}, {"epsilon": 0.0}, {"delta": 1.0}):
        with pytest.raises(UsageError, match=r"rewind takes share in \(0, 1\], epsilon above 0 and delta in \(0, 1\)"):
            catalogue.make("rewind", **wrong)
    with pytest.raises(UsageError, match="rewind takes smoothness and gradient of at least 0"):
        catalogue.make("rewind", gradient=-1.0)
    with pytest.raises(UsageError, match="noise would be infinite"):
        catalogue.make("rewind", share=0.1, smoothness=1e40, gradient=1e200).unlearn(recorded(tmp_path / "again", FULL))
