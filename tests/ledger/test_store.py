import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from neuralyzer.errors import LedgerError, StorageError, UsageError
from neuralyzer.ledger import tree
from neuralyzer.ledger.store import Entry, Store
from tests.ledger.test_tree import merkle_root


def entries(start: int, end: int) -> list[Entry]:
    return [Entry(f"event {number}", f"body {number}".encode()) for number in range(start, end)]


@pytest.fixture
def url(database_url) -> str:
    return str(database_url)


@pytest.mark.parametrize("cuts", [[0, 21], [0, 1, 2, 9, 21], list(range(22))])
def test_the_tree_does_not_depend_on_how_entries_were_put_together(url, cuts):
    store = Store(url)
    for start, end in itertools.pairwise(cuts):
        assert store.append(entries(start, end)) == list(range(start, end))
    bodies = [entry.content for entry in entries(0, 21)]
    assert len(store) == 21 and list(store.entries()) == list(enumerate(bodies))
    assert tree.root(21, store.hashes) == merkle_root(bodies)
    assert tree.root(13, Store(url).hashes) == merkle_root(bodies[:13])


def test_an_event_that_is_told_again_is_not_written_again(url):
    store = Store(url)
    store.append(entries(0, 3))
    assert store.append([*entries(1, 2), *entries(3, 5), *entries(3, 4)]) == [1, 3, 4, 3]
    assert len(store) == 5


@pytest.mark.parametrize("first", [[], entries(0, 3)])
def test_an_entry_never_changes_and_nothing_of_such_an_append_is_kept(url, first):
    store = Store(url)
    store.append(first)
    with pytest.raises(LedgerError, match="another entry 'event 1'"):
        store.append([Entry("event 7", b"new"), *entries(1, 2), Entry("event 1", b"other")])
    assert len(store) == len(first)


def test_writers_take_turns(url):
    stores = [Store(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(store.append, entries(k, k + 5))
            for k, store in zip(range(0, 400, 5), stores * 20, strict=False)
        ]
    places = sorted(place for job in jobs for place in job.result())
    assert places == list(range(400))
    assert tree.root(400, stores[0].hashes) == merkle_root([body for _, body in stores[1].entries()])


def test_a_missing_hash_is_said(url):
    with pytest.raises(LedgerError, match="lacks the hash of entries 4"):
        Store(url).hashes([tree.Node(2, 1)])


@pytest.mark.parametrize("wrong", ["ledger.sqlite", "postgres:secret@host", "nosuch://secret@host/ledger"])
def test_what_is_no_database_is_refused_and_no_password_said(wrong):
    with pytest.raises(UsageError, match="no URL such as") as refused:
        Store(wrong)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_killed_keeps_what_was_appended(postgres):
    url = postgres.new()
    store = Store(url)
    store.append(entries(0, 5))
    postgres.kill()
    with pytest.raises(StorageError, match="the ledger's database gives an error"):
        store.append(entries(5, 9))
    postgres.start()
    assert store.append(entries(3, 9)) == list(range(3, 9))
    assert tree.root(9, store.hashes) == merkle_root([entry.content for entry in entries(0, 9)])
