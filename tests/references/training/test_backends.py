"""Which backend trains, and why not the other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models import training
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Silent
from neuralyzer.references.training import backends, processes, stacked
from neuralyzer.references.training.backends import Backend
from tests.models.cases import CASES, mlp, normed
from tests.naming import named

DATA = Data.from_arrays(*CASES["mlp"].rows(60))
KEPT = [np.arange(40), np.arange(15, 60), np.arange(5, 45)]


def dropping(share=0.5):
    return nn.Sequential(nn.Linear(6, 9), nn.Dropout(share), nn.Linear(9, 4))


def by_shape(parameters):
    """No weight decay for biases, as many do."""
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )


def by_place(parameters):
    """Another rate for the last layer: stacked parameters stand in the same order."""
    return torch.optim.AdamW([{"params": parameters[:-2]}, {"params": parameters[-2:], "lr": 1e-2}])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"build": dropping}, "draws random numbers"),
        ({"build": normed}, "has buffers, such as BatchNorm's"),
        ({"augment": lambda x, generator: x}, "augments each batch"),
        ({"train": lambda *_: mlp()}, "its own training code"),
        ({"command": "train {rows} {seed} {weights}"}, "its own training code"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS does not update element by element"),
        ({"optimizer": by_shape}, "treats parameters by their shape"),
        ({"optimizer": by_place}, None),
        ({"build": lambda: dropping(0.0)}, None),
        ({}, None),
    ],
    ids=named,
)
def test_what_cannot_be_stacked(given, reason):
    recipe = Recipe(**({"build": mlp, "epochs": 2, "batch_size": 8} | given))
    found = stacked.obstacle(recipe)
    assert found is None if reason is None else reason in found
    if reason is not None:
        backend, why = backends.choose(recipe, DATA, KEPT)
        assert backend is Backend.PROCESSES and why == f"processes: {found}"
        with pytest.raises(UsageError, match=r"cannot be vectorised: .*; use the backend 'processes'"):
            next(backends.train(Backend.VECTORISED, recipe, DATA, KEPT, [1, 2, 3], Silent()))


class Hidden(nn.Module):
    """What no look at the layers shows."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(6, 4)

    def forward(self, x):
        y = self.layer(x)
        if self.kind == "dropout":
            return F.dropout(y, 0.5, self.training)
        return y * 2 if y.sum() > 0 else y


@pytest.mark.parametrize(
    "build",
    [lambda: Hidden("dropout"), lambda: Hidden("control flow"), lambda: Wrapped(nn.LSTM(6, 4))],
    ids=["dropout", "control flow", "recurrent"],
)
def test_what_vmap_refuses_is_trained_in_processes(build):
    backend, why = backends.choose(Recipe(build=build, epochs=2, batch_size=8), DATA, KEPT)
    assert backend is Backend.PROCESSES and why.startswith("processes: the module cannot be stacked (")


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x[None])[0][0]


def test_the_choice_is_by_a_timing_that_is_written_down():
    backend, why = backends.choose(Recipe(build=mlp, epochs=2, batch_size=8), DATA, KEPT)
    assert why.startswith(f"{backend}: ") and "ms a member's step stacked 3 at a time" in why


@pytest.mark.parametrize(("stacked", "alone", "picked"), [(1.0, 9.0, "vectorised"), (9.0, 1.0, "processes")])
def test_the_faster_one_is_picked(monkeypatch, stacked, alone, picked):
    seconds = {"together": stacked, "alone": alone}
    monkeypatch.setattr(backends, "_seconds", lambda work, threads=None: seconds[work.__name__])
    monkeypatch.setattr(backends, "workers", lambda execution=None: 1)
    assert backends.choose(Recipe(build=mlp, epochs=2, batch_size=8), DATA, KEPT[:1])[0] == picked


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, 2), (0.05, 5), (1e-4, 30)])
def test_large_models_are_timed_by_few_steps(monkeypatch, seconds, steps):
    monkeypatch.setattr(backends, "_seconds", lambda work, threads=None: seconds)
    timing = backends.timed(Recipe(build=mlp, epochs=2, batch_size=8), DATA, KEPT)
    assert timing.single == seconds / steps


@pytest.mark.parametrize("build", [mlp, normed, dropping], ids=["plain", "BatchNorm", "dropout"])
def test_processes_make_what_the_loop_makes(build):
    # not Adam: it blows up the rounding errors that are all the gradient of a bias before BatchNorm
    recipe = Recipe(build=build, optimizer=lambda ps: torch.optim.SGD(ps, 0.1), epochs=3, batch_size=8)
    made = list(processes.train_each(recipe, DATA, KEPT, [5, 6, 7], 2))
    for module, rows, seed in zip(made, KEPT, [5, 6, 7], strict=True):
        alone = training.train(recipe, DATA.select(rows), seed)
        assert not module.training
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_processes_that_are_stopped_say_nothing():
    """Closing the generator is what an interrupt comes to; warnings are errors here."""
    made = processes.train_each(Recipe(build=mlp, epochs=300, batch_size=8), DATA, KEPT * 4, list(range(12)), 2)
    next(made)
    made.close()


def test_chunks():
    recipe = Recipe(build=mlp, batch_size=8)
    assert backends.chunks(recipe, Backend.PROCESSES, DATA, [40, 8, 40]) == [[0, 1, 2]]
    assert backends.chunks(recipe, Backend.VECTORISED, DATA, [40, 8, 40]) == [[1], [0, 2]]
    many = backends.chunks(recipe, Backend.VECTORISED, DATA, [40] * 70)
    assert [len(chunk) for chunk in many] == [64, 6] and np.concatenate(many).tolist() == list(range(70))
