"""Old names that plugins may use for one more version: each is found, with a warning."""

import importlib
import inspect

import pytest
import torch

from neuralyzer import _moved
from neuralyzer.models import reading, weights
from neuralyzer.models.classification import Classification
from neuralyzer.models.sharded import Sharded
from neuralyzer.references.pool import References
from neuralyzer.unlearning import search
from neuralyzer.unlearning.task import Task


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("models.objective.Classification", "models.classification.Classification"),
        ("models.objective.LOG_ODDS", "models.classification.LOG_ODDS"),
        ("models.objective.labels", "models.classification.labels"),
        ("models.objective.call", "models.calling.call"),
        ("models.objective.by_row", "models.calling.by_row"),
        ("models.reading.IMAGES", "models.reading.IMAGE_CHUNK"),
        ("models.training.normalises", "models.training.uses_batch_statistics"),
        ("unlearning.method.hurries", "unlearning.method.anytime"),
        ("unlearning.search.Found", "unlearning.search.SearchResult"),
        ("unlearning.search.Better", "unlearning.search.Improvement"),
        ("unlearning.search.looks", "unlearning.search.evaluated_passes"),
        ("unlearning.task.FEWEST_NEVER", "unlearning.never_seen.FEWEST_NEVER"),
    ],
)
def test_old_names_of_modules(old, new):
    (module, _, name), (home, _, now) = old.rpartition("."), new.rpartition(".")
    with pytest.warns(DeprecationWarning, match=f"neuralyzer.{old} is now neuralyzer.{new}"):
        found = getattr(importlib.import_module(f"neuralyzer.{module}"), name)
    assert found is getattr(importlib.import_module(f"neuralyzer.{home}"), now)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(f"neuralyzer.{module}").nothing  # noqa: B018


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (reading.gradients_by_row, "along", "arguments"),
        (weights.bare_digest, "state", "tensors"),
        (weights.fill, "state", "tensors"),
        (weights.require_finite, "state", "tensors"),
        (search.search, "better", "on_improvement"),
        (search.distribution, "own", "values"),
        (References.erase, "memory", "nulls"),
        (Sharded.train, "dealt", "shards"),
        (Sharded.grow, "own", "slices"),
        (Sharded.grow, "watch", "make_observer"),
        (Sharded.steps, "own", "slices"),
    ],
)
def test_old_names_of_arguments(function, old, new):
    assert new in inspect.signature(function).parameters
    message = f"{function.__qualname__}.{old}=. is now {function.__qualname__}.{new}=."
    with pytest.warns(DeprecationWarning, match=message), pytest.raises(TypeError, match="nothing"):
        function(**{old: None}, nothing=None)


def test_an_argument_by_its_old_name_is_the_same_argument():
    layer = torch.nn.Linear(2, 2)
    tensors = {name: value + 1 for name, value in layer.state_dict().items()}
    with pytest.warns(DeprecationWarning, match="fill"):
        weights.fill(layer, state=tensors, name="it")
    torch.testing.assert_close(layer.state_dict(), tensors)


def test_old_attributes_of_classes():
    pairs = {name: value.new for owner in (Task, References) for name, value in vars(owner).items()
             if isinstance(value, _moved.OldAttribute)}  # fmt: skip
    assert pairs == {
        "witness": "training_audit", "late": "time_is_up", "outside": "tuning_holdout", "gone": "removed_classes",
        "judging": "evaluation",
    }  # fmt: skip


def test_a_fault_in_an_attribute_is_not_taken_for_a_missing_name(monkeypatch):
    broken = Task.__new__(Task)
    monkeypatch.setattr(Task, "traceable", property(lambda self: Classification().nothing))
    with pytest.raises(AttributeError, match="'Classification' object has no attribute 'nothing'"):
        _ = broken.traceable
