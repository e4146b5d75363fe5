"""From registering models to the certificate: a copy, a child, its child, one that is gone, and the base."""

import base64
import json
from dataclasses import replace

import neuralyzer as nz
from neuralyzer.models import training, weights
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.trace.verdict import Verdict
from tests.conftest import small_digits, small_recipe


def test_registered_models_stand_in_certificate_and_report(tmp_path):
    place = nz.Workspace(tmp_path / ".neuralyzer")
    data, holdout = small_digits()
    base = weights.save(small_recipe(seed=5).module(), tmp_path / "base.safetensors")
    recipe = small_recipe(epochs=3, init=base)
    oracle = nz.TrainedModel.fit(recipe, data, holdout)
    own = weights.save(oracle.model, tmp_path / "oracle.safetensors")
    for name in ("child", "grandchild", "gone"):
        (tmp_path / name).write_bytes(name.encode())
    register_dataset(place, "train", data)
    pretraining = register_dataset(place, "pretraining", data.select(data.subjects == "c0"))
    nz.register_model(place, "copy", own)
    nz.register_model(place, "child", tmp_path / "child", kind="fine-tuned", parent=oracle.digest)
    nz.register_model(place, "grandchild", tmp_path / "grandchild", kind="distilled", parent="child")
    nz.register_model(place, "gone", tmp_path / "gone", kind="fine-tuned", parent="copy")
    nz.register_model(place, "pretrained", base, kind="base", data=pretraining.digest)
    (tmp_path / "gone").unlink()

    case = nz.forget(oracle, nz.ErasureRequest(subjects=["c0"], guarantee="exact"), None, place)
    envelope = json.loads(case.certificate.read_text())
    said = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    derived = {model["name"]: model for model in said["derived_models"]}
    assert {name: model["state"] for name, model in derived.items()} == {
        "copy": "found", "child": "found", "grandchild": "found", "gone": "not reachable",
    }  # fmt: skip
    assert derived["copy"]["digest"] == oracle.digest and derived["grandchild"]["note"].startswith("distilled; ")
    assert derived["gone"]["note"] == "fine-tuned; gone does not exist"
    (held,) = (model for model in said["models"] if model["name"] == "pretrained base pretrained")
    assert held["state"] == "found" and held["note"] == "pretrained: saw 40 of the rows"
    report = case.report.read_text()
    assert "can be reached: child (fine-tuned), copy (copy), grandchild (distilled)." in report
    assert "cannot be reached: gone (fine-tuned)." in report
    assert "The pretrained base pretrained saw 40 of these rows." in report
    assert case.verdict is Verdict.INCONCLUSIVE and not case.succeeded, "retraining starts from what saw the rows"
    assert said["verification"]["verdict"] == "inconclusive"
    assert (
        "the pretrained base 'pretrained', from which the recipe starts, saw 40 of the rows"
        in case.verification.sentence
    )


def test_a_training_loop_that_loads_its_last_checkpoint_has_not_forgotten(tmp_path):
    """Its record shows no forget row, for it was handed none; its weights are the original's."""
    data, holdout = small_digits()
    plain, last = small_recipe(epochs=2), tmp_path / "last.safetensors"

    def train(rows, seed, device, progress):
        module = plain.module(seed)
        if last.exists():
            return weights.load_into(module, last)
        module = training.train(replace(plain, seed=seed), rows)
        weights.save(module, last)
        return module

    oracle = nz.TrainedModel.fit(replace(plain, train=train), data, holdout)
    case = nz.forget(oracle, nz.ErasureRequest(subjects=["c0"]), None, tmp_path / "place", method="retrain")
    assert case.verdict is Verdict.INCONCLUSIVE and not case.succeeded
    assert "these weights were trained on the rows: they are the original's" in case.verification.sentence
