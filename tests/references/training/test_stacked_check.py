"""Members trained side by side must be what each is alone: whatever does otherwise is found by trying it."""

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.progress import Silent
from neuralyzer.references.training import backends, stacked_check
from neuralyzer.references.training.backends import Backend

G = np.random.default_rng(0)
ROWS = nz.Data.from_arrays(G.normal(size=(90, 6)), G.integers(0, 3, 90))
TOKENS = nz.Data.from_arrays(G.integers(0, 20, size=(90, 5)), G.integers(0, 3, 90))


def adamw(parameters):
    return torch.optim.AdamW(parameters, 1e-2)


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.embed(x).mean(1))


def hooked():
    module = nn.Linear(6, 3)
    module.weight.register_hook(lambda gradient: gradient * (torch.arange(6) > 2))
    return module


class BatchMean(nn.Module):
    """Takes the mean of the batch, to which padded rows would belong."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(x - x.mean(0, keepdim=True))


class Normed(torch.optim.AdamW):
    """Bears a known name and scales each gradient by its norm, which stacked weights share."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.div_(parameter.grad.norm() + 1e-3)
        return super().step(closure)


Normed.__name__ = "AdamW"

OTHERWISE = {
    "padding_idx": (nz.Recipe(Padded, optimizer=adamw, batch_size=20), TOKENS, "embed.weight"),
    "a parameter's hook": (nz.Recipe(hooked, optimizer=adamw, batch_size=20), ROWS, "weight"),
    "statistics of the batch": (nz.Recipe(BatchMean, optimizer=adamw, batch_size=20), ROWS, "out."),
    "a subclass of a known optimizer": (
        nz.Recipe(lambda: nn.Linear(6, 3), optimizer=lambda p: Normed(p, 1e-2), batch_size=20),
        ROWS,
        "",
    ),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_comes_out_otherwise_is_not_stacked(what):
    recipe, data, name = OTHERWISE[what]
    reason = stacked_check.obstacle(recipe, data)
    assert reason is not None and reason.startswith(f"trained side by side, {name}")
    kept = [np.arange(60), np.arange(70)]
    backend, why = backends.choose(recipe, data, kept)
    assert backend is Backend.PROCESSES and reason in why
    with pytest.raises(UsageError, match="cannot be vectorised: trained side by side"):
        list(backends.train(Backend.VECTORISED, recipe, data, kept, [0, 1], Silent()))


class Embedded(Padded):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)


def normed_layers():
    return nn.Sequential(
        nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 16), nn.GroupNorm(4, 16), nn.Linear(16, 3)
    )


class Single(nn.Module):
    """Computes in single precision whatever it is given."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return nn.functional.linear(x.float(), self.out.weight, self.out.bias)


ALIKE = {
    "a plain network": (nz.Recipe(lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), optimizer=adamw, batch_size=20), ROWS),
    "an embedding": (nz.Recipe(Embedded, optimizer=adamw, batch_size=20), TOKENS),
    "normalised layers, whose biases' gradients are rounding": (nz.Recipe(normed_layers, optimizer=adamw, batch_size=20), ROWS),
    "a schedule": (nz.Recipe(lambda: nn.Linear(6, 3), optimizer=adamw, batch_size=20,
                             schedule=torch.optim.lr_scheduler.CosineAnnealingLR), ROWS),
    "momentum": (nz.Recipe(lambda: nn.Linear(6, 3), optimizer=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), batch_size=20), ROWS),
    "batches of one": (nz.Recipe(lambda: nn.Linear(6, 3), optimizer=adamw, batch_size=1), ROWS),
    "fewer rows than a batch": (nz.Recipe(lambda: nn.Linear(6, 3), optimizer=adamw, batch_size=500), ROWS),
    "single precision only": (nz.Recipe(Single, optimizer=adamw, batch_size=20), ROWS),
}  # fmt: skip


@pytest.mark.parametrize("what", ALIKE)
def test_what_comes_out_alike_is_stacked(what):
    recipe, data = ALIKE[what]
    assert stacked_check.obstacle(recipe, data) is None


def test_a_regression_too():
    data = nz.Data.from_arrays(G.normal(size=(90, 6)), G.normal(size=90))
    recipe = nz.Recipe(lambda: nn.Linear(6, 1), nz.Regression(), adamw, batch_size=20)
    assert stacked_check.obstacle(recipe, data) is None


def test_what_cannot_be_stacked_at_all_says_why():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(6, 3)

        def forward(self, x):
            return self.out(x) if x.sum() > 0 else self.out(-x)

    assert "cannot be stacked" in stacked_check.obstacle(nz.Recipe(Branching, optimizer=adamw, batch_size=20), ROWS)
