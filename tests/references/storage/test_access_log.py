"""Looks at the evaluation split are counted by subject and lineage, twice at most."""

import concurrent.futures
import hashlib
import json
import multiprocessing

import pytest

from neuralyzer.errors import LooksSpentError
from neuralyzer.references.storage.access_log import AccessLog

KEY = bytes(range(32))


@pytest.fixture
def looks(tmp_path):
    return AccessLog(tmp_path / "looks.json", lambda: KEY)


def test_two_looks_and_no_third(looks):
    assert looks.count("model", ["anna"]) == 0
    assert looks.record("model", ["anna"]) == 1 and looks.count("model", ["anna"]) == 1
    assert AccessLog(looks.path, lambda: KEY).record("model", ["anna"]) == 2  # counted on the disk, not in the object
    with pytest.raises(LooksSpentError, match="opened 2 times for these rows; only exact options remain"):
        looks.record("model", ["anna"])
    assert looks.count("model", ["anna"]) == 2


def test_other_subjects_and_lineages_have_their_own(looks):
    looks.record("model", ["anna"])
    assert looks.record("model", ["bert"]) == 1 and looks.record("other", ["anna"]) == 1


def test_a_request_of_several_has_had_as_many_as_the_one_that_had_most(looks):
    looks.record("model", ["anna"])
    assert looks.count("model", ["bert", "anna"]) == 1
    assert looks.record("model", ["bert", "anna"]) == 2
    assert looks.count("model", ["bert"]) == 2  # the same readings were seen
    with pytest.raises(LooksSpentError):
        looks.record("model", ["bert"])


def test_names_are_not_written_down(looks):
    looks.record("model", ["anna-with-a-name"])
    assert "anna" not in looks.path.read_text()


def test_a_look_that_fails_is_not_counted(looks):
    for _ in range(2):
        looks.record("model", ["anna"])
    with pytest.raises(LooksSpentError):
        looks.record("model", ["anna", "carl"])
    assert looks.count("model", ["carl"]) == 0


def test_nobody_can_guess_a_name_from_what_is_written(looks):
    looks.record("model", ["anna"])
    plain = hashlib.sha256(b"model\0anna").hexdigest()[:24]
    assert plain not in looks.path.read_text()
    assert AccessLog(looks.path, lambda: bytes(32)).count("model", ["anna"]) == 0  # another key knows nobody


def test_what_an_early_version_counted_is_still_counted_and_gets_a_key(looks):
    plain = hashlib.sha256(b"model\0anna").hexdigest()[:24]
    looks.path.write_text(json.dumps({"model": {plain: 1}, "takers": {"case-1": 1}}))
    assert looks.count("model", ["anna"]) == 1
    assert looks.record("model", ["anna"], "case-1") == 1
    assert looks.record("model", ["anna"], "case-2") == 2
    assert plain not in looks.path.read_text() and looks.count("model", ["anna"]) == 2


def _counted(path, first):
    looks = AccessLog(path, lambda: KEY)
    return [looks.record("model", [f"s{first + k}"], f"case-{first + k}") for k in range(15)]


def test_eight_processes_count_every_look(looks):
    with concurrent.futures.ProcessPoolExecutor(8, multiprocessing.get_context("spawn")) as pool:
        taken = list(pool.map(_counted, [looks.path] * 8, range(0, 120, 15)))
    assert taken == [[1] * 15] * 8
    content = json.loads(looks.path.read_text())
    assert len(content["model"]) == len(content["takers"]) == 120
