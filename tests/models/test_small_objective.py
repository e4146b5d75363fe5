"""An objective of the four readings alone goes the whole way; what needs more says what is missing."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.influence.curvature import GaussNewton
from neuralyzer.models.capabilities import OF_OBJECTIVES
from neuralyzer.models.classification import Classification
from neuralyzer.models.objective import CurvedObjective, MatchableObjective, ScaledObjective, capabilities
from neuralyzer.models.regression import Regression
from tests.conftest import small_digits


@dataclass(frozen=True)
class Hinge:
    """The multiclass hinge loss (Crammer and Singer 2001): it has no curvature by the outputs."""

    name: str = "hinge"
    counted: bool = True
    utility_name: str = "accuracy"
    max_utility_loss: float = 0.01

    def outputs(self, model, x):
        return model(x)

    def losses(self, outputs, y):
        return nn.functional.relu(1 - self.margin(outputs, y))

    def margin(self, outputs, y):
        index = y.long().unsqueeze(1)
        return outputs.gather(1, index).squeeze(1) - outputs.scatter(1, index, -torch.inf).amax(1)

    def correct(self, outputs, y):
        return (outputs.argmax(1) == y).to(outputs.dtype)

    def utility(self, outputs, y):
        return float(self.correct(outputs, y).mean())

    def utility_loss(self, before, after):
        return before - after


def build():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture(scope="module")
def oracle():
    data, holdout = small_digits()
    return nz.TrainedModel.fit(nz.Recipe(build, Hinge(), epochs=20), data, holdout)


def test_what_objectives_have():
    assert capabilities(Classification()) == capabilities(Regression()) == OF_OBJECTIVES
    assert capabilities(Hinge()) == frozenset()
    assert isinstance(Regression(), ScaledObjective) and not isinstance(Classification(), ScaledObjective)
    assert not isinstance(Hinge(), CurvedObjective | MatchableObjective)


def test_curvature_of_an_objective_without_any_is_refused_in_one_line(oracle):
    with pytest.raises(UsageError, match="the objective 'hinge' has no curvature"):
        GaussNewton(oracle.model, oracle.recipe.objective, oracle.data)
    assert not kept.possible(oracle)


def test_a_whole_case(oracle, tmp_path):
    references = nz.References.fit(oracle, 16, workspace=nz.Workspace(tmp_path), backend="processes")
    request = nz.ErasureRequest(subjects=[str(oracle.data.subjects[0])])
    why = {own.method: own.reason for own in nz.plan(oracle, request, references).options}
    for method in ("influence", "fisher", "datamodel-matching"):
        assert "curvature" in why[method] and "which the objective 'hinge' does not have" in why[method]
    assert "does not have" not in (why["finetune"] or "")
    case = nz.forget(oracle, request, references, nz.Workspace(tmp_path), method="finetune")
    assert case.result["unlearning"]["attempts"][0]["method"] == "finetune"
    assert case.verdict in set(nz.Verdict)
