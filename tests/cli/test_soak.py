"""Request after request on one project, each killed at random moments: weights and looks are those of a twin left alone."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from neuralyzer.certificates.check import check
from neuralyzer.workspace import digests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SUBJECTS = ("c0", "c1", "c2", "c3")
MOST_KILLS = 5  # a request


def ask(subject):
    return ("forget", "--subject", subject, "--method", "influence", "--json")


def killed(project, subject, draw):
    """Kill a request at a random moment, unless it is done before; return whether it was killed."""
    process = project.process(*ask(subject))
    time.sleep(draw.uniform(0.5, 7))
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("seed", [1, 2])
def test_a_line_of_killed_requests_ends_where_one_left_alone_ends(project, tmp_path, in_folder, seed):
    alone = tmp_path / "alone"
    shutil.copytree(project.root, alone)
    draw, kills, ended = random.Random(seed), 0, []
    for subject in SUBJECTS:
        for _ in range(draw.randint(1, MOST_KILLS)):
            kills += killed(project, subject, draw)
        done = project.process(*ask(subject))
        out, _ = done.communicate()
        answer = json.loads(out)
        ended.append(answer["weights"])
        assert answer["verification"]["looks"] == 1
        assert check(Path(answer["certificate"]), Path(answer["weights_file"])).ok
    assert kills > len(SUBJECTS) / 2 and not project.parts
    twin = in_folder(alone)
    assert ended == [json.loads(twin.process(*ask(subject)).communicate()[0])["weights"] for subject in SUBJECTS]
    assert digests.of_file(project.weights) == digests.of_file(twin.weights)
    assert len(project.cases) == len(twin.cases) == len(SUBJECTS)
