"""Influence, matching and repair on the layers people use: what must move moves, and what must stay stays."""

from functools import cache

import pytest
import torch
from torch import nn

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.influence.curvature import GaussNewton, mean_gradient
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.matching import matching
from neuralyzer.influence.removal import moved, removal_space
from neuralyzer.models import reading, weights
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.unlearning.repair import Repair, reestimated
from neuralyzer.unlearning.task import Task

ROWS, FORGET = 200, 20


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mixed, self.head = (
            nn.LayerNorm(8),
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        own = self.norm(x)
        return self.head((x + self.mixed(own, own, own, need_weights=False)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.layer, self.head = kind(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def frozen():
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    module[0].requires_grad_(False)
    return module


def tied():
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    module[2].weight = module[0].weight
    return module


BUILDS = {
    "BatchNorm": (lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)), (8,), 3),
    "dropout": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)), (8,), 3),
    "frozen": (frozen, (8,), 3),
    "tied": (tied, (8,), 3),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)), (2, 4, 4), 3,
    ),
    "attention": (Attention, (5, 8), 3),
    "single logit": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)), (8,), 2),
    "LSTM": (Recurrent, (5, 8), 3),
    "GRU": (lambda: Recurrent(nn.GRU), (5, 8), 3),
}  # fmt: skip


@cache
def task_of(name):
    build, shape, classes = BUILDS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, *shape, generator=generator)
    y = (x.flatten(1)[:, :classes] + torch.randn(ROWS, classes, generator=generator)).argmax(1)
    data = Data.from_arrays(x, y, subjects=["a"] * FORGET + ["b"] * (ROWS - FORGET))
    recipe = Recipe(build=build, optimizer=lambda own: torch.optim.AdamW(own, 1e-2), epochs=10, batch_size=20)
    return Task(TrainedModel.fit(recipe, data), ErasureRequest(subjects=["a"]))


@pytest.fixture(params=list(BUILDS), name="task")
def _task(request):
    return task_of(request.param)


def removal(task):
    space = removal_space(task.model, task.objective, task.retain, task.forget, 20)
    return moved(task.model, space.solve(0.03 * space.largest))


def matched(task):
    factors = ekfac(task.model, task.objective, task.oracle.data)
    own = reading.outputs(task.model, task.objective, task.forget.x)
    aim = task.objective.target(0.3 * own[None], task.forget.y)  # less sure than the model is
    rounds = [(task.forget, aim)] * 2
    path = matching(task.model, task.objective, rounds, factors, len(task.retain), 1e-2 * factors.largest)
    next(path)
    module = next(path)
    left = [
        float(task.objective.mismatch(reading.outputs(m, task.objective, task.forget.x), aim).norm())
        for m in (task.model, module)
    ]
    assert left[1] < 0.8 * left[0]
    return module


def unfrozen(module):
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("step", [removal, matched])
def test_a_step_moves_what_is_trained_and_nothing_else(task, step):
    before = weights.digest(task.model)
    module = step(task)
    assert weights.digest(task.model) == before != weights.digest(module)
    assert unfrozen(module) == unfrozen(task.model)
    for name, parameter in task.model.named_parameters():
        own = dict(module.named_parameters())[name]
        assert torch.isfinite(own).all()
        if not parameter.requires_grad:
            assert torch.equal(own, parameter)
    if task is task_of("tied"):
        assert module[2].weight is module[0].weight


def test_removal_raises_the_loss_on_the_forget_rows_most(task):
    forget, retain = (
        reading.mean_loss(removal(task), task.objective, part) - reading.mean_loss(task.model, task.objective, part)
        for part in (task.forget, task.retain)
    )
    assert forget > 0 and forget > 2 * retain


@pytest.mark.parametrize("name", ["frozen", "tied", "BatchNorm"])
def test_repair_keeps_frozen_and_tied_parameters(name):
    task = task_of(name)
    mended = Repair(rounds=1).mend(removal(task), task)
    if name == "frozen":
        assert torch.equal(mended[0].weight, task.model[0].weight)
        assert torch.equal(mended[0].bias, task.model[0].bias)
    if name == "tied":
        assert mended[2].weight is mended[0].weight


def test_running_statistics_are_the_plain_average_of_the_retained_batches():
    task = task_of("BatchNorm")
    found = reestimated(weights.clone(task.model), task)[1]
    with torch.no_grad():
        given = task.model[0](task.retain.x).reshape(-1, 20, 16)  # nine batches of twenty
    torch.testing.assert_close(found.running_mean, given.mean(1).mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.running_var, given.var(1).mean(0), rtol=1e-5, atol=1e-6)


def test_running_statistics_know_nothing_of_the_forget_rows():
    task = task_of("BatchNorm")
    x = task.oracle.data.x.clone()
    x[:FORGET] = 1e3
    data = Data.from_arrays(x, task.oracle.data.y, subjects=task.oracle.data.subjects)
    oracle = TrainedModel(task.model, task.oracle.recipe, data, None)
    other = Task(oracle, ErasureRequest(subjects=["a"]))
    buffers = [dict(reestimated(weights.clone(task.model), t).named_buffers()) for t in (task, other)]
    assert all(torch.equal(buffers[0][name], value) for name, value in buffers[1].items())


def test_dropout_is_off_wherever_a_model_is_measured():
    task = task_of("dropout")
    plain = nn.Sequential(task.model[0], task.model[1], task.model[3]).eval()
    vector = torch.randn(sum(p.numel() for p in plain.parameters()), generator=torch.Generator().manual_seed(0))
    measures = (
        lambda m: reading.outputs(m, task.objective, task.forget.x),
        lambda m: mean_gradient(m, task.objective, task.forget),
        lambda m: GaussNewton(m, task.objective, task.retain) @ vector,
        lambda m: ekfac(m, task.objective, task.retain).blocks[0].values,
        lambda m: reading.squared_gradient_norms(m, task.objective, task.forget.x, task.forget.y),
    )
    for measure in measures:
        torch.testing.assert_close(measure(weights.clone(task.model).train()), measure(plain), rtol=1e-5, atol=1e-7)


def test_a_single_logit_is_read_as_two_classes():
    task = task_of("single logit")
    outputs = reading.outputs(task.model, task.objective, task.forget.x)
    assert outputs.shape == (FORGET, 2) and not outputs[:, 0].any()
    want = nn.functional.binary_cross_entropy_with_logits(outputs[:, 1], task.forget.y.float())
    assert reading.mean_loss(task.model, task.objective, task.forget) == pytest.approx(float(want), rel=1e-5)
