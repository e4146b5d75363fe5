"""Registered models: copies, what was made from them, and bases."""

import numpy as np
import pytest
from rich.console import Console

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.registry.locate import locate
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.registry.models import register_model, registered
from neuralyzer.registry.record import Recorder
from neuralyzer.workspace import digests

ANN = ErasureRequest(subjects=["ann"])  # rows 0, 2, 5 of the data


@pytest.fixture
def trained(workspace, data, recipe):
    """A finished run on registered data; the digest of its weights."""
    register_dataset(workspace, "customers", data)
    recorder = Recorder(workspace.runs / "a", data, every=9, base=digests.of_bytes(b"base"))
    module = recipe.module()
    recorder.begin(module)
    recorder.step(np.arange(10))
    recorder.finish(module)
    (path,) = (workspace.runs / "a" / "checkpoints").glob("00000001.safetensors")
    return path


def file(workspace, name, content=None):
    path = workspace.root.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content or name).encode())
    return path


def test_copies_children_and_theirs_are_found(workspace, trained):
    weights = digests.of_file(trained)
    copy = register_model(workspace, "copy", trained)
    child = register_model(workspace, "child", file(workspace, "child"), kind="fine-tuned", parent=weights)
    register_model(workspace, "grandchild", file(workspace, "g"), kind="distilled", parent="child")
    register_model(workspace, "gone", file(workspace, "gone"), kind="quantised", parent="copy")
    register_model(workspace, "other", file(workspace, "other"), kind="fine-tuned", parent="0" * 64)
    register_model(workspace, "changed", file(workspace, "changed"), kind="fine-tuned", parent=child.digest)
    (workspace.root.parent / "gone").unlink()
    file(workspace, "changed", "something else")
    found = {model.name: model for model in locate(ANN, workspace).derived}
    assert set(found) == {"copy", "child", "grandchild", "gone", "changed"}
    assert [name for name, model in found.items() if model.reachable] == ["child", "copy", "grandchild"]
    assert "does not exist" in found["gone"].reason and "holds other weights" in found["changed"].reason
    assert copy.digest == weights == found["gone"].parent and found["grandchild"].parent == child.digest
    console = Console(record=True, width=200)
    console.print(locate(ANN, workspace))
    text = console.export_text()
    assert all(name in text for name in found)


def test_models_of_weights_that_no_run_made_are_found_by_their_digest(workspace, data):
    register_dataset(workspace, "customers", data)
    model = register_model(workspace, "copy", file(workspace, "copy"))
    assert locate(ANN, workspace).derived == ()
    assert [hit.name for hit in locate(ANN, workspace, weights=[model.digest]).derived] == ["copy"]


def test_what_saw_none_of_the_rows_has_no_derived_models(workspace, data, recipe, trained):
    rest = data.select([1, 3])
    register_dataset(workspace, "rest", rest)
    recorder = Recorder(workspace.runs / "b", rest)
    recorder.begin(recipe.module(7))
    recorder.finish(recipe.module(7))
    (path,) = (workspace.runs / "b" / "checkpoints").glob("*.safetensors")
    register_model(workspace, "copy", path)
    assert locate(ANN, workspace).derived == ()


def test_whether_the_base_saw_the_rows(workspace, data, trained):
    def base():
        (only,) = locate(ANN, workspace).bases
        return only.name, only.saw, only.rows, only.reason

    assert base() == (None, "unknown", None, "the base is not registered")
    weights, part = file(workspace, "base"), data.select([9, 5, 3])
    register_model(workspace, "nobody-knows", weights, kind="base")
    assert base() == ("nobody-knows", "unknown", None, "nobody said what data it was trained on")
    register_dataset(workspace, "pretraining", part)
    register_dataset(workspace, "unrelated", data.select([1, 3]))
    register_model(workspace, "other-name", weights, kind="base", data="pretraining")
    assert base() == ("other-name", "yes", 1, "")
    assert str(locate(ANN, workspace).bases[0]) == "other-name: saw 1 of the rows"
    (workspace.models / "other-name.json").unlink()
    register_model(workspace, "third", weights, kind="base", data="0" * 64)
    assert base() == ("third", "unknown", None, "its training data is not registered")
    (workspace.models / "third.json").unlink()
    register_model(workspace, "fourth", weights, kind="base", data="unrelated")
    assert base() == ("fourth", "no", 0, "")


def test_a_model_is_written_down_once(workspace):
    first = register_model(workspace, "copy", file(workspace, "copy"))
    assert register_model(workspace, "copy", workspace.root.parent / "copy") == first == registered(workspace)[0]
    assert first.path == "copy"  # relative, so that a project may be moved
    with pytest.raises(UsageError, match="'copy' is registered already"):
        register_model(workspace, "copy", file(workspace, "other"))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("../copy", {}, "may have only letters"),
        ("copy", {"kind": "cousin"}, "none of copy, fine-tuned, distilled, quantised, base"),
        ("copy", {"kind": "distilled"}, "a distilled model was made from another: give parent="),
        ("copy", {"parent": "nobody"}, "'nobody' is neither a digest nor the name of a registered model"),
        ("copy", {"data": "nothing"}, "'nothing' is neither a digest nor the name of a registered data set"),
        ("copy", {"data": "two"}, "'two' names 2 versions"),
    ],
)
def test_what_cannot_be_registered_is_refused(workspace, data, name, given, message):
    register_dataset(workspace, "two", data)
    register_dataset(workspace, "two", Data.from_arrays([[1.0]], [0]))
    with pytest.raises(UsageError, match=message):
        register_model(workspace, name, file(workspace, "weights"), **given)
    assert registered(workspace) == []


def test_weights_that_are_missing(workspace):
    with pytest.raises(UnreadableError, match="No such file"):
        register_model(workspace, "copy", workspace.root / "none")


def test_a_damaged_registration(workspace):
    register_model(workspace, "copy", file(workspace, "copy"))
    (workspace.models / "copy.json").write_text('{"name": "copy"}')
    with pytest.raises(UnreadableError, match="does not describe a model"):
        registered(workspace)
