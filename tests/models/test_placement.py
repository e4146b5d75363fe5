"""Where training happens, and what is said where it cannot."""

import pytest
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.models.placement import Placement, Precision, as_device, convolves


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu-of-mine", "device is 'tpu-of-mine'; it must be such as 'cpu', 'cuda' or 'cuda:1'"),
        ("cuda:99", r"device 'cuda:99' was asked for and torch finds \d+ of kind 'cuda' here; ask for 'cpu'"),
        ("meta", "finds 0 of kind 'meta' here"),
    ],
)
def test_devices_that_are_not_there(name, message):
    with pytest.raises(UsageError, match=message):
        as_device(name)


@pytest.mark.parametrize("gpu", [False, True])
def test_the_gpu_where_there_is_one(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert as_device(None) == torch.device("cuda" if gpu else "cpu") and as_device("cpu") == torch.device("cpu")


def test_precision():
    assert Placement.of("cpu").precision is Precision.FLOAT32
    with pytest.raises(UsageError, match="precision is 'int4'; it must be float32 or bf16"):
        Placement.of("cpu", "int4")
    layer, x = nn.Linear(3, 2), torch.ones(4, 3)
    with Placement.of("cpu", "bf16").computing():
        assert layer(x).dtype == torch.bfloat16
    with Placement.of("cpu").computing():
        assert layer(x).dtype == torch.float32


def test_layout():
    x, y = torch.randn(4, 3, 5, 5), torch.zeros(4)
    assert Placement().rows(x, y)[0].is_contiguous()
    got, _ = Placement().rows(x, y, images=True)
    assert got.is_contiguous(memory_format=torch.channels_last) and torch.equal(got, x)
    assert Placement().rows(x[:, 0, 0], y, images=True)[0].ndim == 2
    assert convolves(nn.Sequential(nn.Conv2d(3, 4, 3))) and not convolves(nn.Linear(3, 4))
