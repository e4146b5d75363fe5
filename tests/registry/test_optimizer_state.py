"""Optimizers go to the disk and come back bit by bit, and never by pickle."""

import pytest
import torch
from torch import nn

from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.registry import optimizer_state

OPTIMIZERS = {
    "sgd": lambda ps: torch.optim.SGD(ps, 0.1),
    "momentum": lambda ps: torch.optim.SGD(ps, 0.1, momentum=0.9, nesterov=True),
    "adamw": lambda ps: torch.optim.AdamW(ps, 1 / 3, betas=(0.1 + 0.2, 0.999), amsgrad=True),
    "tensor rate": lambda ps: torch.optim.Adam(ps, torch.tensor(0.1)),
    "groups": lambda ps: torch.optim.RMSprop([{"params": ps[:1]}, {"params": ps[1:], "lr": 1e-5}], centered=True),
    "adafactor": lambda ps: torch.optim.Adafactor(ps, 0.1),
    "rprop": torch.optim.Rprop,
    "lbfgs": lambda ps: torch.optim.LBFGS(ps, max_iter=2),
}


def train(module, optimizer, steps):
    x = torch.linspace(-1, 1, 12).reshape(4, 3)

    def closure():
        optimizer.zero_grad()
        loss = module(x).square().sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_comes_back_bit_by_bit_and_trains_on_equally(tmp_path, name, steps):
    modules = [nn.Linear(3, 2), nn.Linear(3, 2)]
    first, second = (OPTIMIZERS[name](list(module.parameters())) for module in modules)
    train(modules[0], first, steps)
    modules[1].load_state_dict(modules[0].state_dict())
    for group in second.param_groups:
        group["weight_decay"] = 0.123  # must be overwritten
    optimizer_state.load_into(second, optimizer_state.save(first, tmp_path / "state.safetensors"))
    ours, theirs = first.state_dict(), second.state_dict()
    for group in theirs["param_groups"] if name == "lbfgs" else ():
        group.pop("weight_decay", None)  # LBFGS knows none, so nothing overwrites it
    assert same(ours, theirs)
    for module, optimizer in zip(modules, (first, second), strict=True):
        train(module, optimizer, 2)
    assert torch.equal(modules[0].weight, modules[1].weight)


def test_what_only_pickle_could_write_is_refused(tmp_path):
    optimizer = torch.optim.SGD(nn.Linear(3, 2).parameters(), 0.1)
    optimizer.param_groups[0]["own"] = object()
    with pytest.raises(UsageError, match=r"a object at param_groups\.0\.own"):
        optimizer_state.save(optimizer, tmp_path / "state.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_other_parameters_is_refused(tmp_path):
    path = optimizer_state.save(torch.optim.SGD(nn.Linear(3, 2).parameters(), 0.1), tmp_path / "state.safetensors")
    with pytest.raises(UsageError, match="another optimizer"):
        optimizer_state.load_into(torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1), path)


@pytest.mark.parametrize("keep", [None, 0, 30, -1])
def test_a_damaged_state_is_named(tmp_path, keep):
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    train(module, optimizer, 1)
    path = optimizer_state.save(optimizer, tmp_path / "state.safetensors")
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableError, match=r"does not exist" if keep is None else "truncated"):
        optimizer_state.load_into(optimizer, path)


def test_weights_are_no_optimizer_state(tmp_path):
    from neuralyzer.models import weights

    module = nn.Linear(3, 2)
    with pytest.raises(UnreadableError, match="not a whole optimizer state"):
        optimizer_state.load_into(
            torch.optim.SGD(module.parameters(), 0.1), weights.save(module, tmp_path / "weights.safetensors")
        )
