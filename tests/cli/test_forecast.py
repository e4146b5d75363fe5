"""``neuralyzer references``: what it says before it trains, and what it trains nothing for."""

import tomllib

import numpy as np
import pyarrow.parquet as pq
import pytest

import neuralyzer as nz
from neuralyzer.models import weights
from neuralyzer.project.project import Project as Own


@pytest.fixture
def untrained(files):
    """A project with a model and without references."""
    files("init", "--id", "row_id")
    files.edit("size = 64", 'leave_out = 0.4\nbackend = "vectorised"\nsize = 30')
    own = Own.read(files.path("neuralyzer.toml"))
    weights.save(own.recipe.module(0), files.weights)
    return files


def test_a_dry_run_says_what_a_pool_takes_and_trains_nothing(untrained):
    before = untrained.states()
    answer = untrained("references", "--size", "32", "--dry-run", "--json")
    ahead = answer.json["forecast"]
    assert answer.code == 0 and list(answer.json) == ["forecast", "size"]
    assert (ahead["size"], ahead["untrained"], ahead["refitted"]) == (32, 32, False) and ahead["seconds"] > 0
    largest = max(np.unique(pq.read_table(untrained.path("train.parquet"))["customer"], return_counts=True)[1])
    assert ahead["power"][-1] == {"subject": "largest", "rows": largest, "power": ahead["power"][-1]["power"]}
    assert ahead["pays_after"] >= 1
    shown = untrained("references", "--size", "32", "--dry-run")
    assert shown.code == 0 and "32 references, 32 of them to be trained" in shown.out
    assert untrained.states() == before


def test_it_is_said_before_the_training(untrained):
    refused = untrained("references")
    assert refused.code == 2 and "does not reproduce the model" in refused.err + refused.out, "it was never trained"
    answer = untrained("references", "--unchecked")
    assert answer.code == 0
    assert answer.out.index("30 of them to be trained") < answer.out.index("30 references measured")
    again = untrained("references")
    assert "to be trained" not in again.out and "30 references measured" in again.out, "nothing is left to foresee"


def test_a_finished_pool_predicts_a_larger_one(project):
    before = project.states()
    ahead = project("references", "--size", "64", "--dry-run", "--json").json["forecast"]
    assert ahead["refitted"] and (ahead["size"], ahead["untrained"]) == (64, 32)
    assert project.states() == before
    made = project("references", "--json").json
    assert made["size"] == 32 and made["forecast"]["untrained"] == 0 and made["forecast"]["seconds"] == 0


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("size", "says"), [("33", "33 is odd"), ("34", "these 32 references cannot grow by 2"), ("x", "--size")]
)
def test_sizes_that_cannot_be_had(project, words, size, says):
    before = project.states()
    assert says in project("references", "--size", size, *words).complaint
    assert project.states() == before


def test_the_size_that_is_asked_for_instead_can_be_had(project):
    complaint = project("references", "--size", "34").complaint
    size = int(complaint.rpartition(" ")[2])
    assert project("references", "--size", size, "--dry-run", "--json").json["forecast"]["size"] == size


def test_training_seconds_are_those_of_the_training(project):
    own = Own.read(project.path("neuralyzer.toml"))
    assert own.training_seconds > 0 and tomllib.loads(project.path("neuralyzer.toml").read_text())
    assert isinstance(own.oracle(), nz.TrainedModel)
