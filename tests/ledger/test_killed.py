"""A writer that is killed at any moment leaves a ledger that is whole, and its steps run again without a second entry."""

import subprocess
import sys
import time

import pytest

from neuralyzer.ledger import tree
from neuralyzer.ledger.events import Event
from tests.ledger.test_tree import merkle_root

STEPS = 400
WRITER = f"""
import sys
from pathlib import Path
from neuralyzer.ledger.events import Event
from neuralyzer.ledger.log import Ledger
from neuralyzer.workspace.paths import Workspace

ledger = Ledger.of(Workspace(Path(sys.argv[1])), sys.argv[2])
print("ready", flush=True)
for occurrence in range({STEPS}):
    ledger.record(Event.PURGED, "case-a", occurrence=occurrence)
    if occurrence % 50 == 0:
        ledger.checkpoint()
"""


@pytest.mark.parametrize("kills", [3])
def test_a_writer_that_is_killed_leaves_a_whole_ledger(kept, kills):
    words = [sys.executable, "-c", WRITER, kept.workspace.root, kept.url]
    for kill in range(kills):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.1 + 0.17 * kill)
            writer.kill()
        assert kept.ledger.check() == []
    ledger = kept.ledger
    before = len(ledger)
    assert before > 15, "it was killed before it began"
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert len(ledger) == 15 + STEPS and ledger.check() == []
    assert len({entry.tag for entry in ledger.entries_of("case-a") if entry.event == Event.PURGED}) == STEPS
    contents = [content for _, content in ledger.store.entries()]
    assert tree.root(len(contents), ledger.store.hashes) == merkle_root(contents)
