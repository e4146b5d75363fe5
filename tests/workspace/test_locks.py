"""A lock is held by one process at a time, and given back however it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from neuralyzer.errors import NeuralyzerWarning, StorageError
from neuralyzer.workspace import locks

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from neuralyzer.workspace import locks
with locks.held(Path(sys.argv[1]), "works"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock, and has a child process of its own that outlives it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "l.lock")], stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    yield process
    for own in (process.pid, child):
        try:
            os.kill(own, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    process.stdout.close()


def test_who_waits_is_told_so_and_goes_on_once_the_other_is_killed(tmp_path, holder):
    began = time.monotonic()
    holder_dies = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {holder.pid}"])
    with (
        pytest.warns(NeuralyzerWarning, match=r"waiting for another process that works \(l.lock\)"),
        locks.held(tmp_path / "l.lock", "works"),
    ):
        assert time.monotonic() - began > 0.5  # and the child that survives keeps nothing
    holder_dies.wait()


def test_a_process_may_take_it_again(tmp_path):
    with locks.held(tmp_path / "l.lock", "works"), locks.held(tmp_path / "l.lock", "works"):
        pass
    with locks.held(tmp_path / "l.lock", "works"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot lock .*l.lock"), locks.held(tmp_path / "file" / "l.lock", "works"):
        pass
