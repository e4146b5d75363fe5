"""Two commands at once on one project: one after the other, and nothing is lost."""

import json
import signal
import time

import pytest

import neuralyzer as nz
from neuralyzer.project.project import Project as Read

FORGET = ("--method", "retrain", "--json")


@pytest.mark.slow
def test_two_requests_at_once_both_leave_the_model(project):
    """Each of them unlearns from what the other left, not from the model that both found."""
    processes = [project.process("forget", "--subject", name, *FORGET) for name in ("c0", "c1")]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert sorted(err.count("waiting for another process") for _, err in answers) == [0, 1]
    line = json.loads(project.path(".neuralyzer/lineage.json").read_text())
    rows = [json.loads(out)["request"]["rows"] for out, _ in answers]
    assert len(line["erased"]) == sum(rows) and len(line["cases"]) == 2
    left = Read.read(project.path("neuralyzer.toml")).oracle()
    assert not set(left.data.subjects.tolist()) & {"c0", "c1"}
    models = [json.loads(out)["weights"] for out, _ in answers]
    assert {models[0]["original"], models[1]["original"]} != {models[0]["original"]}, "one began with the other's end"


@pytest.mark.slow
def test_one_that_is_killed_keeps_nobody_waiting(project):
    first = project.process("forget", "--subject", "c0", *FORGET)
    for _ in range(300):
        if project.cases:
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = project.process("forget", "--subject", "c1", *FORGET)
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0 and "waiting" not in err
    again = project("forget", "--subject", "c0", *FORGET)
    assert again.code == 0 and json.loads(out)["weights"]["unlearned"] == again.json["weights"]["original"]


def test_a_model_that_is_at_work_makes_the_next_wait_in_python_too(made_world, tmp_path):
    """The second call goes on from the case of the first: the same request is the same case."""
    place = nz.Workspace(tmp_path)
    request = nz.ErasureRequest(subjects=["c0"])
    first = nz.forget(made_world.oracle, request, None, place, method="retrain")
    again = nz.forget(made_world.oracle, request, None, place, method="retrain")
    assert first.id == again.id and list(place.locks.iterdir())
