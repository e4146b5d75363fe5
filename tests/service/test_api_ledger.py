"""The ledger over HTTP, checked from its answers alone."""

import pytest

from neuralyzer.ledger import tree
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.events import Event
from neuralyzer.ledger.log import Record
from neuralyzer.ledger.notes import verify
from neuralyzer.ledger.proof import Proof
from neuralyzer.ledger.proof import verify as verify_proof

NAMES = ["Anna Secret", "Ben Secret"]


@pytest.fixture
def filled(world):
    """A world whose ledger has 13 entries."""
    ledger = world.service.project.ledger
    for place in range(13):
        case = f"case-{place:012x}"
        subjects = ledger.begin(case, NAMES)
        ledger.record_many([Record(Event.RECEIVED, case, subjects)])
    ledger.store.close()
    return world


def get(world, path, **query):
    answer = world.client("read").get(f"/v1/ledger/{path}", params=query)
    assert answer.status_code == 200, answer.text
    assert "Secret" not in answer.text
    return answer


def test_a_checkpoint_is_signed_and_of_all_entries(filled):
    note = get(filled, "checkpoint").text
    own = filled.service.project.ledger.public_keys()[:1]
    text, signed = verify(note, own)
    known = Checkpoint.parse(text)
    leaves = [tree.leaf_hash(one["content"].encode()) for one in get(filled, "entries").json()]
    assert signed and known.size == 13 == len(leaves)
    frontier = tree.appended(0, {}, leaves)
    assert tree.root(13, lambda nodes: {node: frontier[node] for node in nodes}) == known.root


def test_entries_come_in_pages(filled):
    found = [one["position"] for start in (0, 5, 10) for one in get(filled, "entries", start=start, limit=5).json()]
    assert found == list(range(13)) and get(filled, "entries", start=13).json() == []


@pytest.mark.parametrize("entry", [0, 6, 12])
def test_every_entry_is_proven(filled, entry):
    content = get(filled, "proof", entry=entry).json()
    assert verify_proof(Proof(**content)).event == "received" and content["index"] == entry
    other = Proof(**content | {"entry": content["entry"].replace("received", "released")})
    with pytest.raises(Exception, match="not in the ledger"):
        verify_proof(other)


@pytest.mark.parametrize(("earlier", "later"), [(1, 13), (7, 13), (8, 9), (13, 13)])
def test_one_size_continues_another(filled, earlier, later):
    path = [bytes.fromhex(one) for one in get(filled, "consistency", earlier=earlier, later=later).json()["path"]]
    hashes = filled.service.project.ledger.store.hashes
    roots = tree.root(earlier, hashes), tree.root(later, hashes)
    assert tree.is_consistent(earlier, roots[0], later, roots[1], path)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("proof", {"entry": 13}, 404),
        ("proof", {"entry": -1}, 422),
        ("proof", {}, 422),
        ("consistency", {"earlier": 1, "later": 14}, 404),
        ("consistency", {"earlier": 0, "later": 3}, 409),
        ("consistency", {"earlier": 5, "later": 3}, 409),
        ("entries", {"limit": 1001}, 422),
    ],
)
def test_what_is_not_there_cannot_be_proven(filled, path, query, status):
    assert filled.client("read").get(f"/v1/ledger/{path}", params=query).status_code == status


def test_it_needs_a_token(filled):
    for path in ("checkpoint", "entries", "proof?entry=0", "consistency?earlier=1&later=2"):
        assert filled.client(None).get(f"/v1/ledger/{path}").status_code == 401
