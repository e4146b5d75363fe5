"""Sequences of algorithms, and algorithms for parts of the rows."""

import numpy as np
import pytest
import torch

from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.methods.weak.rum import Rum, memorisation
from neuralyzer.models import weights
from neuralyzer.unlearning.method import Need, obstacle
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task


@pytest.fixture(scope="module")
def task(made_world):
    return Task(made_world.oracle, ErasureRequest(subjects=["c0", "c1"]), made_world.references())


def test_a_sequence_is_one_algorithm_after_the_other(task):
    before = weights.digest(task.model)
    made = catalogue.make("influence+finetune").unlearn(task)
    first = Repair().mend(catalogue.make("influence").unlearn(task), task)
    second = catalogue.make("finetune").unlearn(task.going_on_from(first))
    assert weights.digest(made) == weights.digest(second) != weights.digest(first)
    assert weights.digest(task.model) == before


def test_a_sequence_promises_and_needs_what_its_parts_do(task):
    made = catalogue.make("influence+gradient-ascent+finetune")
    assert made.name == "influence+gradient-ascent+finetune" and made.guarantee is Guarantee.WEAK
    assert {own for own in made.needs if isinstance(own, Need)} == {Need.RETAIN, Need.FORGET, Need.REFERENCES}
    own = [catalogue.make(name).passes(task) for name in ("influence", "gradient-ascent", "finetune")]
    assert made.passes(task) == own[0] + Repair().passes(task) + own[1] + own[2]
    assert obstacle(made, task) is None
    assert "no references" in obstacle(made, Task(task.oracle, task.request))
    assert "convolution" in obstacle(catalogue.make("finetune+ct"), task)
    assert catalogue.hyperparameters(made)["gradient-ascent.rate"] == 0.1


def test_bad_sequences_are_one_clear_line():
    with pytest.raises(UsageError, match="no method 'bogus'"):
        catalogue.make("influence+bogus")
    with pytest.raises(UsageError, match="takes no hyperparameters"):
        catalogue.make("influence+finetune", epochs=3)


def test_a_sequence_stops_when_its_time_is_up(task):
    task.start(0.0)
    made = catalogue.make("finetune+gradient-ascent").unlearn(task)
    only = catalogue.make("finetune").unlearn(task)
    task.start(None)
    assert weights.digest(made) == weights.digest(only)


def test_memorisation_is_what_seeing_a_row_adds_to_its_class(task):
    split, found = task.references, memorisation(task)
    row = int(np.argmax(found))
    position = task.positions[row]
    part = next(own for own in task.parts if position in own.rows)
    saw = split.values.keep[:, part.subject]
    p = torch.from_numpy(split.outputs[:, position]).double().softmax(1)[:, int(task.forget.y[row])].numpy()
    assert found[row] == pytest.approx(p[saw].mean() - p[~saw].mean(), abs=1e-6)
    assert found.mean() > 0, "models know better what they saw"


def test_a_part_of_the_rows_is_a_task_of_its_own(task):
    own = task.part(task.positions[5:20])
    assert len(own.forget) == 15 and len(own.retain) == len(task.retain)
    assert sorted(np.concatenate([part.rows for part in own.parts])) == sorted(task.positions[5:20])
    assert own.forget.ids.tolist() == task.oracle.data.ids[task.positions[5:20]].tolist()
    assert len(task.forget) == len(task.positions) == 80


def test_rum_takes_the_least_memorised_rows_first(task):
    order = np.array_split(np.argsort(memorisation(task), kind="stable"), 3)
    module = task.model
    for name, rows in zip(("finetune", "salun", "neggrad-plus"), order, strict=True):
        own = task.part(np.sort(task.positions[rows])).going_on_from(module)
        module = catalogue.make(name).unlearn(own)
    assert weights.digest(Rum().unlearn(task)) == weights.digest(module)
