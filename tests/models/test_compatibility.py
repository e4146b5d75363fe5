"""A model and rows that do not go together are refused in one line, before anything is trained."""

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.models import weights
from neuralyzer.models.compatibility import require_compatible

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
        require_compatible(PROBABILITIES[kind](), nz.Classification(), ROWS)


@pytest.mark.parametrize("kind", LOGITS)
def test_logits_are_not(kind):
    torch.manual_seed(0)
    require_compatible(LOGITS[kind](), nz.Classification(), ROWS)


def test_a_regression_may_give_what_it_likes():
    require_compatible(PROBABILITIES["sigmoid"](), nz.Regression(), ROWS)


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).train()
    require_compatible(module, nz.Classification(), ROWS)
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

    require_compatible(Votes(), nz.Classification(), ROWS)


def labelled(y, features=6, classes=None):
    generator = np.random.default_rng(1)
    data = nz.Data.from_arrays(generator.normal(size=(len(y), features)), y)
    data.classes = classes
    return data


class TestLabels:
    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([1, 2, 3], r"labels 1 to 3, row 2 has 3, .* 3 outputs are classes 0 to 2; count them from 0"),
            ([0, 1, -100], r"labels -100 to 1, row 2 has -100, .*; remove such rows"),
            ([0, 1, 2, 7], r"labels 0 to 7, row 3 has 7, .*; give the model an output for each"),
            ([0.0, 1.0, 2.0], "whole-number class labels"),
            ([[0, 1], [1, 0]], "multi-label"),
        ],
    )
    def test_labels_that_the_model_has_no_output_for_are_refused(self, y, message):
        with pytest.raises(UsageError, match=message):
            require_compatible(nn.Linear(6, 3), nz.Classification(), labelled(y))

    def test_the_holdout_is_held_to_the_same(self):
        with pytest.raises(UsageError, match="the holdout has labels 0 to 3, row 1 has 3"):
            require_compatible(nn.Linear(6, 3), nz.Classification(), labelled([0, 1, 2]), labelled([0, 3]))

    def test_classes_with_names_are_told_by_name(self):
        data = labelled([0, 1, 2], classes=("a", "b", "c"))
        with pytest.raises(UsageError, match=r"3 classes \(a, b, c ...\) and the model has 2 outputs"):
            require_compatible(nn.Linear(6, 2), nz.Classification(), data)

    def test_a_class_less_than_there_are_outputs_is_fine(self):
        require_compatible(nn.Linear(6, 3), nz.Classification(), labelled([0, 1]))

    def test_one_logit_has_two_classes(self):
        require_compatible(nn.Linear(6, 1), nz.Classification(), labelled([0, 1]))
        with pytest.raises(UsageError, match="count them from 0"):
            require_compatible(nn.Linear(6, 1), nz.Classification(), labelled([1, 2]))


class TestShapes:
    def test_a_model_that_takes_other_rows_is_refused(self):
        with pytest.raises(UsageError, match=r"cannot read these rows, torch.float32 of shape \(5,\): RuntimeError"):
            require_compatible(nn.Linear(6, 2), nz.Classification(), labelled([0, 1], features=5))

    @pytest.mark.parametrize("outputs", [2, 3])
    def test_a_regression_needs_an_output_a_target(self, outputs):
        data = labelled([0.5, 1.5])
        require_compatible(nn.Linear(6, 1), nz.Regression(), data)
        with pytest.raises(UsageError, match=f"gives {outputs} numbers a row and there are 1 targets a row"):
            require_compatible(nn.Linear(6, outputs), nz.Regression(), data)

    def test_outputs_of_more_axes_are_refused(self):
        with pytest.raises(UsageError, match=r"needs outputs \(N, C\)"):
            require_compatible(nn.Unflatten(1, (2, 3)), nz.Classification(), labelled([0, 1]))
