"""Looks at the judging half are counted by subject and lineage, twice at most."""

import pytest

from neuralyzer.errors import LooksSpentError
from neuralyzer.references.looks import Looks


@pytest.fixture
def looks(tmp_path):
    return Looks(tmp_path / "looks.json")


def test_two_looks_and_no_third(looks):
    assert looks.taken("model", ["anna"]) == 0
    assert looks.take("model", ["anna"]) == 1 and looks.taken("model", ["anna"]) == 1
    assert Looks(looks.path).take("model", ["anna"]) == 2  # counted on the disk, not in the object
    with pytest.raises(LooksSpentError, match="opened 2 times for these rows; only exact options remain"):
        looks.take("model", ["anna"])
    assert looks.taken("model", ["anna"]) == 2


def test_other_subjects_and_lineages_have_their_own(looks):
    looks.take("model", ["anna"])
    assert looks.take("model", ["bert"]) == 1 and looks.take("other", ["anna"]) == 1


def test_a_request_of_several_has_had_as_many_as_the_one_that_had_most(looks):
    looks.take("model", ["anna"])
    assert looks.taken("model", ["bert", "anna"]) == 1
    assert looks.take("model", ["bert", "anna"]) == 2
    assert looks.taken("model", ["bert"]) == 2  # the same readings were seen
    with pytest.raises(LooksSpentError):
        looks.take("model", ["bert"])


def test_names_are_not_written_down(looks):
    looks.take("model", ["anna-with-a-name"])
    assert "anna" not in looks.path.read_text()


def test_a_look_that_fails_is_not_counted(looks):
    for _ in range(2):
        looks.take("model", ["anna"])
    with pytest.raises(LooksSpentError):
        looks.take("model", ["anna", "carl"])
    assert looks.taken("model", ["carl"]) == 0
