"""``locate`` names rows that nearly copy a requested one: other people's, and those in the holdout."""

import json

import numpy as np
import pytest
from rich.console import Console

import neuralyzer as nz
from neuralyzer.errors import UsageError
from neuralyzer.registry import manifests
from neuralyzer.registry.location import NearCopy

TEXT = list(range(100, 120))
NEAR = [9, *TEXT[1:10], 9, *TEXT[11:]]  # two of twenty tokens changed: 14 of 18 shingles are shared
FAR = list(range(300, 320))


def shared():
    ann, near = ({tuple(own[k : k + 3]) for k in range(18)} for own in (TEXT, NEAR))
    return len(ann & near) / len(ann | near)


@pytest.fixture
def data():
    rows = [TEXT, NEAR, TEXT, FAR, FAR[::-1]]
    return nz.Data.from_tokens(rows, [0, 0, 0, 1, 1], ["ann", "bob", "cy", "dee", "ann"], [f"r{k}" for k in range(5)])


@pytest.fixture
def holdout():
    return nz.Data.from_tokens([[5, *TEXT[1:]], FAR[:9]], [0, 1], ["eve", "fay"], ["h0", "h1"])


def test_other_peoples_rows_and_the_holdouts_are_named_and_not_taken(tmp_path, data, holdout):
    held = manifests.unregistered("held", holdout, "holdout")
    found = nz.locate(nz.ErasureRequest(subjects=["ann"]), tmp_path, data, also=[held])
    given = f"given-{data.digest[:12]}"
    bob, eve = found.near_copies
    assert bob == NearCopy("r1", "bob", given, "training", "r0", pytest.approx(shared()))
    assert (eve.row, eve.subject, eve.dataset, eve.role, eve.like) == ("h0", "eve", held.label, "holdout", "r0")
    assert [copy.subject for copy in found.duplicates] == ["cy"] and found.rows == 2 and found.also_near == ()
    assert json.loads(json.dumps(found.to_dict()))["near_copies"][0]["similarity"] == pytest.approx(shared())


def test_asked_for_they_are_part_of_the_request_and_named(tmp_path, data, holdout):
    held = manifests.unregistered("held", holdout, "holdout")
    found = nz.locate(nz.ErasureRequest(subjects=["ann"], also_near=True), tmp_path, data, also=[held])
    assert found.rows == 4 and [(copy.row, copy.subject) for copy in found.also_near] == [("r1", "bob"), ("r2", "cy")]
    assert [copy.row for copy in found.near_copies] == ["h0"] and found.duplicates == ()
    console = Console(width=150)
    with console.capture() as shown:
        console.print(found)
    for words in ("2 other rows of nearly the same text, part of the request", "bob", "1 other row", "not part of the"):
        assert words in shown.get()
    with pytest.raises(UsageError, match="near copies needs the data itself"):
        nz.locate(nz.ErasureRequest(subjects=["ann"], also_near=True), tmp_path)


def test_a_registered_version_at_hand_is_searched_too(tmp_path, data, holdout):
    for name, rows, role in (("train", data, "training"), ("held", holdout, "holdout")):
        manifests.register_dataset(tmp_path, name, rows, role)
    asked = nz.ErasureRequest(subjects=["ann"])
    both = nz.locate(asked, tmp_path, data, also=[manifests.unregistered("held", holdout, "holdout")])
    assert [copy.row for copy in both.near_copies or ()] == ["h0", "r1"]
    assert nz.locate(asked, tmp_path).near_copies is None  # manifests have no tokens


def test_rows_that_are_no_tokens_are_not_searched(tmp_path):
    rows = nz.Data.from_arrays(np.eye(3, dtype=np.float32), [0, 1, 0], ["ann", "bob", "cy"])
    assert nz.locate(nz.ErasureRequest(subjects=["ann"]), tmp_path, rows).near_copies is None
