"""Weights that are registered as trained on rows of a request are known by their digest, wherever they come from."""

import numpy as np
import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import weights as files
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.registry.models import register_model
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
