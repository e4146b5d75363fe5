"""Every way to cleanse a ledger: what was done is found, and said of the right entries."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from neuralyzer.ledger import tree
from neuralyzer.ledger.check import check
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.store import INDEX_BITS, Entry, Store

COUNT = 53


class Ledger:
    """A ledger, and the database behind it as its administrator sees it."""

    def __init__(self, path: Path, count: int = COUNT) -> None:
        self.path, self.store = path, Store(f"sqlite:///{path}")
        self.store.append([Entry(f"event {number}", f"body {number}".encode()) for number in range(count)])
        self.checkpoint = self.seen(count)

    def seen(self, size: int) -> Checkpoint:
        return Checkpoint("test", size, tree.root(size, self.store.hashes))

    def execute(self, *statements: str) -> None:
        with sqlite3.connect(self.path) as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    def change(self, position: int, levels: int = 0) -> None:
        """Change an entry, and the hashes above it on some levels."""
        contents = dict(self.store.entries())
        contents[position] = Entry(Entry.parse(contents[position]).key, b"changed").content
        with sqlite3.connect(self.path) as database:
            database.execute("UPDATE ledger_entries SET body = ? WHERE position = ?", (b"changed", position))
            for level in range(levels):
                node = tree.Node(level, position >> level)
                if node.index + 1 << level > len(contents):
                    break
                leaves = [
                    tree.leaf_hash(contents[leaf]) for leaf in range(node.index << level, node.index + 1 << level)
                ]
                own = tree.appended(0, {}, leaves)[tree.Node(level, 0)]
                number = level << INDEX_BITS | node.index
                database.execute("UPDATE ledger_nodes SET hash = ? WHERE number = ?", (own, number))
        database.close()


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def spans(ledger: Ledger, *checkpoints: Checkpoint) -> list[tuple[int, int]]:
    return [(fault.first, fault.last) for fault in check(ledger.store, checkpoints)]


def test_a_sound_ledger_has_no_fault(ledger):
    assert check(ledger.store, [ledger.seen(0), ledger.seen(17), ledger.checkpoint]) == []


@pytest.mark.parametrize("position", [0, 17, COUNT - 1])
@pytest.mark.parametrize("levels, width", [(0, 1), (1, 2), (2, 4)])
def test_a_changed_entry_is_named_and_with_its_hashes_the_entries_beside_it(ledger, position, levels, width):
    ledger.change(position, levels)
    if position == COUNT - 1 and levels:  # the last of an odd number has no hash above it: the checkpoint finds it
        assert check(ledger.store) == [] and spans(ledger, ledger.checkpoint) == [(0, COUNT - 1)]
    else:
        start = position // width * width
        assert spans(ledger) == [(start, start + width - 1)]


def test_all_hashes_made_anew_are_found_by_checkpoints(tmp_path):
    honest = Ledger(tmp_path / "honest.sqlite")
    seen = [honest.seen(size) for size in (10, 20, 30, COUNT)]
    forged = Ledger(tmp_path / "forged.sqlite", 0)
    told = [Entry.parse(content) for _, content in honest.store.entries()]
    told[24] = Entry(told[24].key, b"cleansed")
    forged.store.append(told)
    assert check(forged.store) == []
    (fault,) = check(forged.store, seen)
    assert (fault.first, fault.last) == (20, 29) and "another root" in str(fault)


@pytest.mark.parametrize("also", ["", "DELETE FROM ledger_nodes WHERE number = 24"])
def test_a_removed_entry_is_named(ledger, also):
    ledger.execute("DELETE FROM ledger_entries WHERE position = 24", *filter(None, [also]))
    assert (24, 24) in spans(ledger) and "entry 24 is missing" in map(str, check(ledger.store))


@pytest.mark.parametrize("value", ["x'00'", "x''", "'text'", "17", "body || 'x'"])
def test_whatever_is_put_in_an_entrys_place_is_named(ledger, value):
    ledger.execute(f"UPDATE ledger_entries SET body = {value} WHERE position = 24")
    assert spans(ledger) == [(24, 24)]
    ledger.execute(f"UPDATE ledger_nodes SET hash = {value.replace('body', 'hash')} WHERE number = 25")
    assert (25, 25) in spans(ledger)


def test_an_entry_under_another_key_is_named(ledger):
    ledger.execute("UPDATE ledger_entries SET key = 'event x' WHERE position = 24")
    assert spans(ledger) == [(24, 24)]


def test_entries_in_another_order_are_named(ledger):
    ledger.execute(
        "UPDATE ledger_entries SET position = -1 WHERE position = 7",
        "UPDATE ledger_entries SET position = 7 WHERE position = 30",
        "UPDATE ledger_entries SET position = 30 WHERE position = -1",
    )
    assert spans(ledger) == [(7, 7), (30, 30)]


def test_a_shortened_ledger_is_found_by_what_was_left_of_it_or_by_a_checkpoint(ledger):
    ledger.execute("DELETE FROM ledger_entries WHERE position >= 50")
    assert [(50, 50), (51, 51), (52, 52)] == [span for span in spans(ledger) if span[0] == span[1]]
    ledger.execute(*(f"DELETE FROM ledger_nodes WHERE number & {(1 << INDEX_BITS) - 1} >= {50 >> level} AND number >> "
                     f"{INDEX_BITS} = {level}" for level in range(7)))  # fmt: skip
    assert check(ledger.store) == []
    (fault,) = check(ledger.store, [ledger.checkpoint])
    assert (fault.first, fault.last) == (50, 52) and "counts 53 entries" in str(fault)


@pytest.mark.parametrize("level, index, span", [(0, 9, (9, 9)), (3, 2, (16, 23))])
def test_a_removed_hash_is_named(ledger, level, index, span):
    ledger.execute(f"DELETE FROM ledger_nodes WHERE number = {level << INDEX_BITS | index}")
    assert span in spans(ledger)


def test_many_changed_entries_are_all_found(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite", 10_000)
    changed = np.sort(np.random.default_rng(0).choice(10_000, 1000, replace=False)).tolist()
    ledger.execute(*(f"UPDATE ledger_entries SET body = x'00' WHERE position = {position}" for position in changed))
    assert spans(ledger) == [(position, position) for position in changed]
