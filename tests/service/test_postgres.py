"""Many small cases on PostgreSQL with four workers, two of which are killed on the way."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from neuralyzer.certificates.check import check
from neuralyzer.data.request import ErasureRequest
from neuralyzer.project.project import Project
from neuralyzer.service.states import State

CASES, WORKERS, KILLED = 200, 4, 2


def ask_for_rows(service, count):
    """Ask for single rows, of people who keep others."""
    ids = Project.read(service.path).data.ids
    return [
        service.requests.create(service.settings.model, ErasureRequest(rows=[str(one)], guarantee="exact"), "test")[
            0
        ].id
        for one in ids[:count]
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_database_that_is_killed_and_comes_back_loses_nothing(services, postgres):
    service = services("postgres", url=postgres.new())
    asked = ask_for_rows(service, 3)
    service.worker()
    for state in (State.PREPARING, State.UNLEARNING, State.JUDGED):
        service.wait(lambda one, wanted=state: one.state in (wanted, State.DONE), asked[:1])
        postgres.kill()
        time.sleep(2)
        postgres.start()
    found = service.closed(*asked)
    assert Counter(one.state for one in found) == {State.DONE: 3}, [one.message for one in found]
    for one in found:
        assert Counter(service.kinds(one.id))["released"] == 1


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_many_cases_finish_once_though_workers_are_killed(services, postgres):
    service = services("postgres", url=postgres.new(), policy="batch_days = 0.0002")
    asked = ask_for_rows(service, CASES)
    workers = [service.worker() for _ in range(WORKERS)]
    for killed in range(KILLED):
        service.wait(lambda one: one.state in (State.UNLEARNING, State.DONE), asked[:1])
        time.sleep(3 + 5 * killed)
        workers[killed].kill()
    found = service.closed(*asked)
    assert Counter(one.state for one in found) == {State.DONE: CASES}
    assert len({one.case for one in found}) == CASES
    for one in found:
        assert Counter(service.kinds(one.id))["released"] == 1
        result = json.loads((service.case(one) / "result.json").read_text())
        assert check(service.case(one) / "certificate.json", Path(result["weights_file"])).ok
    lineage = Project.read(service.path).lineage
    assert len(lineage.version.erased) == CASES and lineage.current == len({one.batch for one in found})
