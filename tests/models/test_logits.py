"""A classifier that ends in a softmax or a sigmoid is refused, before anything is trained."""

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.logits import require_logits

generator = np.random.default_rng(0)
ROWS = nz.Data.from_arrays(generator.normal(size=(40, 6)), generator.integers(0, 2, 40))


class Inside(nn.Module):
    """Takes the softmax in its own forward, where no layer shows it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, x):
        return torch.softmax(self.layer(x), 1)


PROBABILITIES = {
    "softmax": lambda: nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)),
    "in forward": Inside,
    "sigmoid": lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()),
    "sigmoid, flat": lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid(), nn.Flatten(0)),
}
LOGITS = {
    "logits": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
    "one logit": lambda: nn.Linear(6, 1),
    "log-probabilities": lambda: nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(1)),
    "positive logits": lambda: nn.Sequential(nn.Linear(6, 3), nn.Softplus()),
    "blank": lambda: nn.Sequential(nn.Linear(6, 1), nn.ReLU()),
}


@pytest.mark.parametrize("kind", PROBABILITIES)
def test_probabilities_are_refused(kind):
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=r"outputs are probabilities already.*takes logits"):
        require_logits(PROBABILITIES[kind](), nz.Classification(), ROWS)


@pytest.mark.parametrize("kind", LOGITS)
def test_logits_are_not(kind):
    torch.manual_seed(0)
    require_logits(LOGITS[kind](), nz.Classification(), ROWS)


def test_a_regression_may_give_what_it_likes():
    require_logits(PROBABILITIES["sigmoid"](), nz.Regression(), ROWS)


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).train()
    require_logits(module, nz.Classification(), ROWS)
    assert module.training


def test_it_is_refused_before_it_is_trained_where_weights_are_loaded_and_before_members_are_trained(tmp_path):
    recipe = nz.Recipe(Inside, train=lambda *given: pytest.fail("trained"))
    with pytest.raises(UsageError, match="softmax"):
        nz.TrainedModel.fit(recipe, ROWS)
    path = weights.save(Inside(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="softmax"):
        nz.TrainedModel.load(recipe, path, ROWS)
    outside = nz.Data.from_arrays(generator.normal(size=(210, 6)), generator.integers(0, 2, 210))
    with pytest.raises(UsageError, match="softmax"):
        nz.References.fit(nz.TrainedModel(Inside(), recipe, ROWS, outside), 16, workspace=tmp_path)
    assert not list(tmp_path.glob("references/*/members/*"))


def test_answers_are_no_probabilities():
    """A stub that answers one class for all rows, and a model of hard votes, are not what is meant."""

    class Votes(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot((x[:, 0] > 0).long(), 2).float()

    require_logits(Votes(), nz.Classification(), ROWS)
