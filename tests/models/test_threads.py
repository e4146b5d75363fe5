"""The number of threads: the fastest, chosen once, written down, and left as it was afterwards."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.models import threads
from neuralyzer.models.threads import Threads, settled, timed, using

RECIPE = nz.Recipe(lambda: nn.Linear(4, 3), epochs=2, batch_size=8)
generator = np.random.default_rng(0)
DATA = nz.Data.from_arrays(generator.normal(size=(40, 4)), generator.integers(0, 3, 40))


@pytest.fixture
def two(monkeypatch):
    """A machine where torch would take two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("one", "both", "count"), [(1.0, 2.0, 1), (2.0, 1.0, 2), (1.0, 1.0, 1)])
def test_the_faster_is_taken_and_one_where_both_are_alike(two, monkeypatch, one, both, count):
    monkeypatch.setattr(threads, "_step", lambda recipe, data, number: {1: one, 2: both}[number])
    assert timed(RECIPE, DATA) == Threads(count, {1: one, 2: both})


def test_steps_are_really_timed_and_the_number_is_left_as_it_was(two):
    found = timed(RECIPE, DATA)
    assert set(found.seconds) == {1, 2} and all(0 < own < 1 for own in found.seconds.values())
    assert found.seconds[found.count] == min(found.seconds.values())
    assert torch.get_num_threads() == 2
    assert "ms a step with 1" in found.why and "ms a step with 2" in found.why


def test_a_persons_own_code_is_not_timed(two):
    own = nz.Recipe(lambda: nn.Linear(4, 3), train=lambda *given: pytest.fail("trained"))
    assert timed(own, DATA) == Threads(2, {})


def test_it_is_chosen_once_a_recipe_and_written_down(two, monkeypatch, tmp_path):
    path = tmp_path / "threads.json"
    first = settled(path, RECIPE, DATA)
    monkeypatch.setattr(threads, "timed", lambda *given: pytest.fail("timed again"))
    assert settled(path, RECIPE, DATA) == first
    assert json.loads(path.read_text()) == {RECIPE.digest: first.to_dict()}


def test_it_ends_with_what_is_done_so_whatever_happens():
    before = torch.get_num_threads()
    inside = []

    def work():
        with using(3):
            inside.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert inside == [3]
    assert torch.get_num_threads() == before
