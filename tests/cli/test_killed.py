"""A case that is killed, as a process that the system ends: it goes on, and ends as if nothing had happened."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neuralyzer.certificates.check import check
from neuralyzer.workspace import digests

ASK = ("forget", "--subject", "c0", "--method", "influence", "--json")

KILLED_IN_A_WRITE = """
import os, signal, sys
from neuralyzer.__main__ import main
left, replace = int(sys.argv.pop(1)), os.replace

def last(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)

os.replace = last
main()
"""


@pytest.fixture(scope="session")
def undisturbed(made_answer):
    """Digest of the weights that the case ends in when nothing disturbs it."""
    (result,) = made_answer.glob(".neuralyzer/cases/*/result.json")
    return json.loads(result.read_text())["weights"]["unlearned"]


def goes_on(project, original, undisturbed):
    answer = project(*ASK)
    assert answer.code == 0
    assert answer.json["weights"] == {"original": original, "unlearned": undisturbed, "base": None}
    assert answer.json["verification"]["looks"] == 1
    assert digests.of_file(project.weights) == original
    assert check(Path(answer.json["certificate"]), Path(answer.json["weights_file"])).ok
    assert not project.parts


@pytest.mark.parametrize(
    "writes",
    [
        9,
        pytest.param(6, marks=pytest.mark.slow),
        pytest.param(11, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.slow),
        pytest.param(22, marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_a_write(project, undisturbed, writes):
    original = digests.of_file(project.weights)
    words = [sys.executable, "-c", KILLED_IN_A_WRITE, str(writes), *ASK]
    done = subprocess.run(words, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL and done.stdout == ""
    assert digests.of_file(project.weights) == original
    goes_on(project, original, undisturbed)


@pytest.mark.slow
def test_killed_at_three_random_moments(project, undisturbed):
    original, draw = digests.of_file(project.weights), random.Random(7)
    for _ in range(3):
        process = project.process(*ASK)
        limit = time.monotonic() + 60
        while not project.cases and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 6) if len(project.cases) else 0)
        process.kill()
        process.communicate()
        assert digests.of_file(project.weights) == original
    goes_on(project, original, undisturbed)


@pytest.mark.slow
def test_training_that_was_killed_can_be_done_again(files):
    files("init", "--id", "row_id")
    process = files.process("train")
    while not files.path(".neuralyzer/runs/train/run.json").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    if not files.weights.exists():
        assert files("train", "--json").code == 0
