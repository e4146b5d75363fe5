"""``neuralyzer verify`` on models that were not unlearned here: weights from elsewhere, and a black box."""

import shutil
import sys

import pytest

SERVED = """
import safetensors.torch
from oracle import build

model = build()
model.load_state_dict(safetensors.torch.load_file("{weights}"))


def predict_proba(x):
    return model(x).softmax(1).detach().numpy()


def logits(x):
    return model(x).detach().numpy()


answer = 42
"""


@pytest.fixture
def elsewhere(project, made_answer):
    """The original's project, and weights from which c0 was unlearned in another workspace."""
    weights = next(made_answer.glob(".neuralyzer/cases/*/attempts/*/weights.safetensors"))
    shutil.copy(weights, project.path("unlearned.safetensors"))
    return project


def test_weights_unlearned_elsewhere_are_judged_by_the_original_lineages_references(elsewhere):
    before = elsewhere.states()
    answer = elsewhere("verify", "--subject", "c0", "--weights", "unlearned.safetensors", "--json")
    assert answer.code == 0 and answer.json["verdict"] == "forgotten" and answer.json["not_measured"] == []
    assert all(row["original"] > 0.5 for row in answer.json["families"])
    kept = elsewhere("verify", "--subject", "c1", "--weights", "unlearned.safetensors", "--json")
    assert kept.code == 1 and kept.json["verdict"] == "not forgotten", "nobody asked to forget c1"
    assert elsewhere.states() == before, "verifying writes nothing"


@pytest.mark.parametrize(("weights", "code"), [("unlearned.safetensors", 0), ("oracle.safetensors", 1)])
def test_a_black_box(elsewhere, monkeypatch, weights, code):
    monkeypatch.delitem(sys.modules, "served", raising=False)
    elsewhere.path("served.py").write_text(SERVED.format(weights=weights))
    answer = elsewhere("verify", "--subject", "c0", "--predict", "served:predict_proba", "--json")
    assert answer.code == code and answer.json["not_measured"] == ["relearned", "fisher"]
    assert [row["signal"] for row in answer.json["families"]] == ["margin", "augmented", "correct"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--predict", "served:logits"], "are these logits?"),
        (["--predict", "served:answer"], "is a int, not a function"),
        (["--predict", "served:nothing"], "served has no nothing"),
        (["--predict", "nowhere:f"], "no module 'nowhere'"),
        (["--predict", "served"], "is not of the form module:attribute"),
        (["--predict", "served:predict_proba", "--weights", "oracle.safetensors"], "not both"),
    ],
)
def test_what_cannot_be_judged(elsewhere, monkeypatch, words, says):
    monkeypatch.delitem(sys.modules, "served", raising=False)
    elsewhere.path("served.py").write_text(SERVED.format(weights="oracle.safetensors"))
    assert says in elsewhere("verify", "--subject", "c0", *words).complaint
