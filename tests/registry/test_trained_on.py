"""Weights that are registered as trained on rows of a request are known by the digest of their tensors, wherever they come from."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights as files
from neuralyzer.registry.locate import locate
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.registry.models import register_model, registered
from neuralyzer.registry.record import Recorder
from neuralyzer.registry.trained_on import trained_on
from neuralyzer.workspace import digests

ANN, DEE = ErasureRequest(subjects=["ann"]), ErasureRequest(subjects=["dee"])  # dee's row is the 7th


@pytest.fixture
def run(workspace, data, recipe):
    """A run that saw ann's rows in its first step and dee's in its second; checkpoints after each."""
    register_dataset(workspace, "customers", data)
    recorder = Recorder(workspace.runs / "a", data, every=1)
    module = recipe.module()
    recorder.begin(module)
    for rows in (np.arange(6), np.arange(6, 10)):
        for parameter in module.parameters():
            parameter.data += 1
        recorder.step(rows)
    recorder.finish(module)
    return sorted((workspace.runs / "a" / "checkpoints").glob("0*[0-9].safetensors"))


@pytest.fixture
def other(workspace, recipe):
    return files.save(recipe.module(seed=9), workspace.root.parent / "other.safetensors")


def test_nothing_is_known_of_other_weights(workspace, data, run, other):
    assert trained_on(other, ANN, workspace, data) is None


def test_the_originals_own_weights(workspace, data, run, other):
    assert trained_on(other, ANN, workspace, data, {digests.of_file(other)}) == "they are the original's"


def test_what_a_run_ended_with_and_its_checkpoints(workspace, data, run):
    assert trained_on(run[-1], ANN, workspace, data) == "they are those that the run 'a' ended with"
    assert trained_on(run[1], ANN, workspace, data) == "they are a checkpoint of the run 'a', step 1"
    assert trained_on(run[1], DEE, workspace, data) is None, "that checkpoint had not seen dee yet"
    assert trained_on(run[0], ANN, workspace, data) is None


def test_a_registered_model_by_its_data_by_its_parent_or_as_a_copy(workspace, data, run, other):
    names = {kind: workspace.root.parent / f"{kind}.bin" for kind in ("data", "child", "stranger")}
    for kind, path in names.items():
        path.write_bytes(kind.encode())
    register_model(workspace, "by-data", names["data"], data="customers")
    register_model(workspace, "by-parent", names["child"], kind="fine-tuned", parent=digests.of_file(run[-1]))
    register_model(workspace, "stranger", names["stranger"], kind="fine-tuned", parent="0" * 64)
    assert trained_on(names["data"], ANN, workspace, data) == "they are registered as 'by-data'"
    assert trained_on(names["child"], ANN, workspace, data) == "they are registered as 'by-parent'"
    assert trained_on(names["stranger"], ANN, workspace, data) is None


@pytest.mark.parametrize(("data_set", "known"), [("customers", True), (None, False)])
def test_what_starts_from_a_base_that_saw_the_rows(workspace, data, run, other, recipe, data_set, known):
    base = files.save(recipe.module(seed=10), workspace.root.parent / "base.safetensors")
    register_model(workspace, "base", base, kind="base", data=data_set)
    found = trained_on(other, ANN, workspace, data, base=digests.of_file(base))
    rows = int((data.subjects == "ann").sum())
    said = f"the pretrained base 'base', from which the recipe starts, saw {rows} of the rows"
    assert found == (said if known else None)
    assert trained_on(other, ANN, workspace, data) is None, "a recipe that starts from none"


@pytest.fixture(params=["metadata", "prefix", "torch.save"])
def copied(request, tmp_path):
    """Gives a copy of the tensors of a file, in a file of other bytes."""

    def copy(path):
        state = safetensors.torch.load_file(path)
        new = tmp_path / f"copy-of-{path.name}"
        if request.param == "metadata":
            safetensors.torch.save_file(state, new, {"format": "pt"})
        elif request.param == "prefix":
            safetensors.torch.save_file({f"module.{name}": tensor for name, tensor in state.items()}, new)
        else:
            torch.save(state, new)
        assert digests.of_file(new) != digests.of_file(path)
        return new

    return copy


def test_copies_of_other_bytes_are_known_all_the_same(workspace, data, run, other, copied):
    assert trained_on(copied(run[-1]), ANN, workspace, data) == "they are those that the run 'a' ended with"
    assert trained_on(copied(run[1]), ANN, workspace, data) == "they are a checkpoint of the run 'a', step 1"
    assert trained_on(copied(other), ANN, workspace, data, files.identities(other)) == "they are the original's"


def test_a_registered_copy_of_other_bytes_is_derived_and_is_known(workspace, data, run, copied):
    register_model(workspace, "shop", copied(run[-1]))
    found = locate(ANN, workspace, data)
    assert [model.name for model in found.derived] == ["shop"]
    register_model(workspace, "tuned", copied(run[1]), data="customers")
    assert trained_on(run[1], ANN, workspace, data) is not None


def test_a_base_of_other_bytes_saw_the_rows(workspace, data, run, other, recipe, copied):
    base = files.save(recipe.module(seed=10), workspace.root.parent / "base.safetensors")
    register_model(workspace, "base", copied(base), kind="base", data="customers")
    assert "saw 3 of the rows" in trained_on(other, ANN, workspace, data, base=files.identities(base))
    assert "saw 3 of the rows" in trained_on(other, ANN, workspace, data, base=files.identities(copied(base)))


def test_a_registration_of_an_earlier_version_is_read(workspace, data, run, other):
    model = register_model(workspace, "shop", other)
    path = workspace.models / "shop.json"
    path.write_text(json.dumps({key: value for key, value in vars(model).items() if key != "tensors"}))
    assert registered(workspace)[0].tensors is None
    assert register_model(workspace, "shop", other) == model
