"""What people bring: each kind of model has its references made and read, or is refused before one is trained."""

import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.models import training
from neuralyzer.references.training import stacked

G = np.random.default_rng(4)
X = G.normal(size=(296, 6))
Y = (X[:, 0] + 0.3 * G.normal(size=296) > 0).astype(int)
OWNERS = [f"c{k % 16}" for k in range(96)]  # six rows each, too few to be relearned, which takes most of the time


def rows(x=X, y=Y, owners=OWNERS):
    return nz.Data.from_arrays(x[:96], y[:96], owners), nz.Data.from_arrays(x[96:], y[96:])


def pairs(dtype, label=lambda y: y):
    own = [(torch.tensor(x).to(dtype), label(int(y))) for x, y in zip(X, Y, strict=True)]
    return nz.Data.from_dataset(own[:96], OWNERS), nz.Data.from_dataset(own[96:])


class Gives(nn.Module):
    """A small network that gives its outputs in some wrapping."""

    def __init__(self, wrap):
        super().__init__()
        self.body, self.wrap = nn.Linear(6, 2), wrap

    def forward(self, x):
        return self.wrap(self.body(x))


class Output(OrderedDict):
    """As the ModelOutput of transformers: entries are attributes, too."""

    __getattr__ = OrderedDict.__getitem__


Named = namedtuple("Named", "logits hidden")


class Doubled(torch.autograd.Function):
    """Of the old form, without setup_context."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class NewDoubled(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Applies(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.body, self.function = nn.Linear(6, 2), function

    def forward(self, x):
        return self.function(self.body(x))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 2, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(torch.complex64) @ self.weight).real


def old_norm(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(make(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 2))


class Unused(nn.Module):
    """A layer that is never called, and is defined last."""

    def __init__(self):
        super().__init__()
        self.body, self.dead = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)), nn.Linear(8, 3)

    def forward(self, x):
        return self.body(x)


class Recurrent(nn.Module):
    """Read as a sequence of six numbers."""

    def __init__(self, kind):
        super().__init__()
        self.steps, self.last = kind(1, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(self.steps(x.unsqueeze(2))[0][:, -1])


class Squeezed(nn.Module):
    """Gives no axis of rows for one row."""

    def __init__(self, outputs):
        super().__init__()
        self.body = nn.Linear(6, outputs)

    def forward(self, x):
        return self.body(x).squeeze()


READ = {
    "a squeezed single output": (lambda: Squeezed(1), rows),
    "a dict": (lambda: Gives(lambda z: {"logits": z, "hidden": z}), rows),
    "a ModelOutput": (lambda: Gives(lambda z: Output(logits=z, hidden=z)), rows),
    "a named tuple": (lambda: Gives(lambda z: Named(z, z)), rows),
    "a tuple of one": (lambda: Gives(lambda z: (z,)), rows),
    "float64 rows": (lambda: nn.Linear(6, 2), lambda: pairs(torch.float64)),
    "float16 rows": (lambda: nn.Linear(6, 2), lambda: pairs(torch.float16)),
    "bfloat16 rows": (lambda: nn.Linear(6, 2), lambda: pairs(torch.bfloat16)),
    "uint8 rows": (lambda: nn.Linear(6, 2), lambda: rows((20 * X + 100).clip(0, 255).astype(np.uint8))),
    "a float64 model": (lambda: nn.Linear(6, 2).double(), rows),
    "a bfloat16 model": (lambda: nn.Linear(6, 2).bfloat16(), rows),
    "a compiled model": (lambda: torch.compile(nn.Linear(6, 2)), rows),
    "an autograd function of the old form": (lambda: Applies(Doubled.apply), rows),
    "the old weight_norm": (lambda: old_norm(nn.utils.weight_norm), rows),
    "the old spectral_norm": (lambda: old_norm(nn.utils.spectral_norm), rows),
    "an autograd function of the new form": (lambda: Applies(NewDoubled.apply), rows),
    "weight_norm": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.Linear(8, 2)), rows),
}  # fmt: skip

REFUSED = {
    "a dict without logits": (lambda: Gives(lambda z: {"scores": z}), "gives a dict of scores; its outputs must be a tensor"),
    "a tuple of two": (lambda: Gives(lambda z: (z, z)), "gives a tuple; its outputs must be a tensor"),
    "complex weights": (Complex, "complex weights"),
    "lazy layers": (lambda: nn.LazyLinear(2), "lazy layers"),
    "BatchNorm without statistics": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 2)),
        "depend on the rows beside it",
    ),
    "chance in evaluation": (lambda: Applies(lambda z: z + torch.randn_like(z)), "draws random numbers"),
    "rows of another width": (lambda: nn.Linear(5, 2), "cannot read these rows"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:There is a performance drop")
@pytest.mark.parametrize("kind", READ)
def test_it_is_trained_read_and_audited(tmp_path, kind):
    build, made = READ[kind]
    data, holdout = made()
    recipe = nz.Recipe(build, optimizer=lambda p: torch.optim.SGD(p, 0.1), epochs=2, batch_size=25)
    oracle = nz.TrainedModel.fit(recipe, data, holdout)
    pool = nz.References.fit(oracle, 16, workspace=tmp_path, unchecked=True)
    found = nz.audit(oracle, nz.ErasureRequest(subjects=["c1"]), pool)
    assert found.families and all(np.isfinite(row["trace"]) for row in found.families)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Lazy modules:UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_before_a_member_is_trained(tmp_path, monkeypatch, kind):
    build, says = REFUSED[kind]
    data, holdout = rows()
    recipe = nz.Recipe(build, optimizer=lambda p: torch.optim.SGD(p, 0.1), epochs=2, batch_size=25)

    def made():
        oracle = nz.TrainedModel.fit(recipe, data, holdout)
        monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("a member is trained"))
        monkeypatch.setattr(stacked, "train_stack", lambda *_, **__: pytest.fail("members are trained"))
        nz.References.fit(oracle, 16, workspace=tmp_path, unchecked=True)

    with pytest.raises(UsageError, match=says) as refused:
        made()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "kind",
    [Unused, lambda: Squeezed(2), pytest.param(lambda: Recurrent(nn.GRU), marks=pytest.mark.slow)],
    ids=["unused", "squeezed", "GRU"],
)
def test_a_whole_case_is_answered(tmp_path, kind):
    """The plan times every option on the model; none may crash."""
    data, holdout = rows(owners=[f"c{k % 12}" for k in range(96)])  # with relearning
    recipe = nz.Recipe(kind, optimizer=lambda p: torch.optim.SGD(p, 0.1), epochs=1, batch_size=24)
    oracle = nz.TrainedModel.fit(recipe, data, holdout)
    pool = nz.References.fit(oracle, 16, workspace=tmp_path, unchecked=True)
    case = nz.forget(oracle, nz.ErasureRequest(subjects=["c1"]), pool, tmp_path)
    assert case.verdict == "forgotten"
    assert not any("Error" in option["reason"] for option in case.result["plan"]["options"])
