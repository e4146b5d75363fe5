"""Weights are known by the digest of their tensors, whatever file they lie in."""

import pytest
import safetensors.torch
import torch
from torch import nn

from neuralyzer.errors import WeightsError
from neuralyzer.models import weights


@pytest.fixture
def module():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


COPIES = {
    "metadata": lambda state, path: safetensors.torch.save_file(state, path, {"format": "pt"}),
    "other order": lambda state, path: safetensors.torch.save_file(dict(reversed(state.items())), path),
    "DataParallel": lambda state, path: safetensors.torch.save_file(prefixed(state, "module."), path),
    "compiled": lambda state, path: safetensors.torch.save_file(prefixed(state, "_orig_mod."), path),
    "both": lambda state, path: safetensors.torch.save_file(prefixed(state, "module._orig_mod."), path),
    "torch.save": torch.save,
    "checkpoint": lambda state, path: torch.save({"state_dict": prefixed(state, "model."), "epoch": 3}, path),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_in_any_file_is_known_by_its_tensors(module, tmp_path, kind):
    COPIES[kind](module.state_dict(), tmp_path / "copy")
    own = weights.save(module, tmp_path / "own.safetensors")
    assert weights.identities(own) == weights.identities(module) == (weights.digest(module),)
    assert weights.digest(module) in weights.identities(tmp_path / "copy")
    assert weights.tensors_digest(tmp_path / "copy") == weights.digest(module)


@pytest.mark.parametrize("kind", COPIES)
def test_one_changed_bit_is_another_model(module, tmp_path, kind):
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state["0.bias"][0] += 1e-6
    COPIES[kind](state, tmp_path / "copy")
    assert not set(weights.identities(tmp_path / "copy")) & set(weights.identities(module))


def test_a_module_all_of_whose_names_have_such_a_prefix_is_known_too(tmp_path):
    module = nn.Module()
    module.model = nn.Linear(3, 2)
    COPIES["metadata"](module.state_dict(), tmp_path / "copy")
    assert set(weights.identities(tmp_path / "copy")) & set(weights.identities(module))
    assert weights.load_into(module, weights.save(module, tmp_path / "own")) is module


@pytest.mark.parametrize("content", [b"", b"GGUF\x03", b"x" * 100])
def test_a_file_of_another_kind_is_known_by_its_bytes_alone(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    assert weights.tensors_digest(tmp_path / "w") is None and len(weights.identities(tmp_path / "w")) == 1


def test_a_pickle_that_would_run_code_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"0.weight": Bomb()}, tmp_path / "w")
    assert weights.tensors_digest(tmp_path / "w") is None and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_a_wrappers_prefix_is_named_with_its_mending(module, tmp_path, prefix):
    safetensors.torch.save_file(prefixed(module.state_dict(), prefix), tmp_path / "w")
    with pytest.raises(
        WeightsError, match=f"has '{prefix}' before every name, .*take the {len(prefix)} characters off"
    ):
        weights.load_into(module, tmp_path / "w")
