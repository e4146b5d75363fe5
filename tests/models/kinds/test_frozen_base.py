"""A head on a frozen base: what a case writes, digests and certifies is what the recipe trains."""

import copy
import hashlib

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.certificates.check import check
from neuralyzer.errors import WeightsError
from neuralyzer.models import weights
from tests.conftest import small_digits

HEAD = {"head.weight": (10, 48), "head.bias": (10,)}


class HeadOnBase(nn.Module):
    """Random features that no training changes, and a linear head."""

    def __init__(self, base_seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(base_seed)
        self.base = nn.Linear(64, 48)
        with torch.no_grad():
            for parameter in self.base.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
        self.base.requires_grad_(False)
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        return self.head(torch.relu(self.base(x)))

    def trained_state(self):
        return {name: value for name, value in self.state_dict().items() if name.startswith("head.")}

    def base_digest(self):
        return hashlib.sha256(self.base.weight.numpy().tobytes() + self.base.bias.numpy().tobytes()).hexdigest()


def recipe(base_seed=0, **settings):
    return nz.Recipe(
        lambda: HeadOnBase(base_seed), optimizer=lambda own: torch.optim.AdamW(own, 2e-2), epochs=60, **settings
    )


def shapes(path):
    return {name: tuple(value.shape) for name, value in safetensors.torch.load_file(path).items()}


def test_the_trained_part_alone_is_written_and_digested(tmp_path):
    module = recipe().module()
    path = weights.save(module, tmp_path / "own.safetensors")
    assert shapes(path) == HEAD and weights.digest(module) == hashlib.sha256(path.read_bytes()).hexdigest()
    other = recipe().module(seed=9)
    assert not torch.equal(other.head.weight, module.head.weight)
    weights.load_into(other, path)
    assert torch.equal(other.head.weight, module.head.weight)


def test_the_whole_model_is_no_such_file(tmp_path):
    module = recipe().module()
    safetensors.torch.save_file(module.state_dict(), tmp_path / "whole.safetensors")
    with pytest.raises(WeightsError, match=r"base.bias is \(48,\), the recipe has no such tensor"):
        weights.load_into(module, tmp_path / "whole.safetensors")


def test_a_model_on_another_base_is_one_of_another_recipe():
    plain = nz.Recipe(lambda: nn.Linear(64, 10))
    assert recipe().digest == recipe().digest != recipe(base_seed=1).digest
    assert "base" not in plain.kind.described(plain)


@pytest.mark.parametrize("method", ["finetune", "retrain"])
def test_a_whole_case(tmp_path, method):
    data, holdout = small_digits()
    oracle = nz.TrainedModel.fit(recipe(), data, holdout)
    place = nz.Workspace(tmp_path)
    references = nz.References.fit(oracle, 16, workspace=place, backend="processes", keep_weights=True)
    assert len(list(references.store.root.rglob("*.safetensors"))) >= 16
    for path in references.store.root.rglob("*.safetensors"):
        assert path == references.store.curvature or shapes(path) == HEAD
    base = copy.deepcopy(oracle.model.base.state_dict())
    case = nz.forget(oracle, nz.ErasureRequest(subjects=["c0"]), references, place, method=method)
    assert shapes(case.weights) == HEAD
    assert check(case.certificate, case.weights).ok
    again = nz.TrainedModel.load(recipe(), case.weights, case.oracle.data, holdout)
    rows = holdout.x[:20]
    np.testing.assert_array_equal(again.model(rows).detach(), case.model(rows).detach())
    for name, value in case.model.base.state_dict().items():
        assert torch.equal(value, base[name])
