"""Projects of other kinds of model: a scikit-learn classifier, and a module without a layer that has factors."""

import pytest

ESTIMATOR = """
from sklearn.ensemble import RandomForestClassifier

import neuralyzer as nz


def forest():
    return RandomForestClassifier(10, max_features=4)


recipe = nz.Recipe.estimator(forest, classes=10)
"""
BARE = """
import torch

import neuralyzer as nz


class Bare(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(10, 64) / 8)

    def forward(self, x):
        return x @ self.weight.T


recipe = nz.Recipe(Bare, optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-2), epochs=20)
"""


@pytest.mark.parametrize("recipe", [ESTIMATOR, BARE], ids=["estimator", "no layer with factors"])
def test_it_goes_the_whole_way(files, recipe):
    files.path("oracle.py").write_text(recipe)
    for verb in (
        ("init", "--id", "row_id"),
        ("train",),
        ("references", "--size", "32", "--unchecked"),
        ("audit", "--subject", "c0"),
    ):
        said = files(*verb, "--json")
        assert said.code == 0, said
    asked = ("forget", "--subject", "c0", "--method", "retrain", "--json")
    answer = files(*asked)
    assert answer.code == 0 and answer.json["verdict"] == "forgotten"
    checked = files("certificate", "verify", answer.json["certificate"], "--weights", answer.json["weights_file"])
    assert checked.code == 0
    again = files("certificate", "reproduce", answer.json["case"], "--json").json
    assert again["outcome"] == "reproduced" and again["weights"] and again["verdict"] == "forgotten"
    if recipe is ESTIMATOR:
        refused = files("forget", "--subject", "c1", "--method", "influence")
        assert "needs gradients, which a scikit-learn estimator does not have" in refused.complaint
