"""The schedule: one run of a model at a time, approvals waited for, errors tried again, nothing stuck."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.service import decisions
from neuralyzer.service.requests import Requests
from neuralyzer.service.run import FIRST_WAIT, TRIES, Run
from neuralyzer.service.schedule import schedule
from neuralyzer.service.settings import Approve, Settings
from neuralyzer.service.states import State

PLAIN = Settings(Path("/nowhere"), Path("/nowhere/.neuralyzer"), "sqlite://", "oracle")
NOW = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)  # after all that a test asks for


@pytest.fixture
def requests(tmp_path):
    made = Requests(f"sqlite:///{tmp_path}/service.sqlite")
    yield made
    made.database.close()


def ask(requests, *names, **more):
    return [requests.create("oracle", ErasureRequest(subjects=[name]), "token", **more)[0].id for name in names]


def next_phase(requests, now=NOW, **settings):
    return schedule(requests, replace(PLAIN, **settings), now, 60.0)


def states(requests, ids):
    return [str(requests.get(one).state) for one in ids]


def through(requests, ids, **settings):
    """Take requests through all phases as workers would; return the phases."""
    seen = []
    after = {
        "prepare": (State.PLANNED, "planned"),
        "unlearn": (State.JUDGED, "judged"),
        "release": (State.DONE, "released"),
    }
    for _ in range(20):
        for batch, phase, _ in next_phase(requests, **settings):
            state, kind = after[phase]
            members = [one.id for one in requests.find(batch=batch) if one.state not in (State.DONE, State.CANCELLED)]
            requests.move(members, state, kind, {"version": 1} if phase == "release" else {})
            seen.append((phase, len(members)))
        if all(requests.get(one).state is State.DONE for one in ids):
            break
    return seen


def test_requests_of_a_model_follow_one_another(requests):
    ids = ask(requests, "a", "b")
    (first,) = next_phase(requests)
    assert first[1:] == ("prepare", 0) and next_phase(requests) == [first], "returned until it is done"
    assert sorted(states(requests, ids)) == ["preparing", "received"]
    assert through(requests, ids) == [("prepare", 1), ("unlearn", 1), ("release", 1)] * 2


def test_a_batch_goes_through_together(requests):
    ids = ask(requests, "a", "b", "c")
    later = NOW + dt.timedelta(days=6)
    assert next_phase(requests, batch_days=5) == []
    assert next_phase(requests, later, batch_days=5)[0][1] == "prepare"
    assert through(requests, ids, batch_days=5) == [("prepare", 3), ("unlearn", 3), ("release", 3)]


def test_a_plan_that_waits_for_approval_keeps_nobody_waiting_but_weights_that_wait_do(requests):
    first, second = ask(requests, "a", "b")
    settings = {"approve": Approve.BEFORE_UNLEARN}
    ((one, _, _),) = next_phase(requests, **settings)
    requests.move([requests.find(batch=one)[0].id], State.PLANNED, "planned")
    assert next_phase(requests, **settings)[0][1] == "prepare", "the next one is planned meanwhile"
    (two,) = {first, second} - {requests.find(batch=one)[0].id}
    requests.move([two], State.PLANNED, "planned")
    assert next_phase(requests, **settings) == []
    decisions.approve(requests, two, "somebody")
    assert next_phase(requests, **settings)[0][1] == "unlearn" and requests.get(two).state is State.UNLEARNING
    requests.move([two], State.JUDGED, "judged", approved=None)
    decisions.approve(requests, requests.find([State.PLANNED])[0].id, "somebody")
    settings = {"approve": Approve.BEFORE_RELEASE}
    assert next_phase(requests, **settings) == [], "no other unlearns on weights that are about to be replaced"
    decisions.approve(requests, two, "somebody")
    assert next_phase(requests, **settings)[0][1] == "release"


def test_a_cancelled_request_leaves_its_batch(requests):
    ids = ask(requests, "a", "b")
    later = NOW + dt.timedelta(days=6)
    next_phase(requests, later, batch_days=5)
    decisions.cancel(requests, ids[0], "somebody", "withdrawn")
    assert states(requests, ids) == ["preparing", "preparing"], "a worker has it"
    requests.move(ids, State.PLANNED, "planned")
    assert states(requests, ids) == ["cancelled", "planned"]


@pytest.mark.parametrize(("phase", "held"), [("prepare", State.PREPARING), ("release", State.JUDGED)])
def test_an_error_is_tried_again_later_and_then_told_to_a_person(requests, phase, held):
    (one,) = ask(requests, "a")
    now, ids = NOW, set()
    for tries in range(1, TRIES + 1):
        for _ in range(3):  # up to the phase
            found = next_phase(requests, now)
            assert len(found) == 1, found
            if found[0][1] == phase:
                break
            state, kind = (State.PLANNED, "planned") if found[0][1] == "prepare" else (State.JUDGED, "judged")
            requests.move([one], state, kind)
        batch, name, before = found[0]
        assert requests.get(one).state is held and (batch, name, before) not in ids
        ids.add((batch, name, before))
        Run(None, requests, batch).fail(RuntimeError("no luck"), name)
        kept = requests.get(one)
        assert kept.tries == tries and "no luck" in kept.message
        if tries < TRIES:
            assert kept.state is (State.RECEIVED if phase == "prepare" else State.JUDGED)
            assert next_phase(requests, dt.datetime.now(dt.UTC)) == [], "not at once"
        now = dt.datetime.now(dt.UTC) + 2 * FIRST_WAIT * 2**tries
    assert requests.get(one).state is State.NEEDS_PERSON and next_phase(requests, now) == []
    decisions.again(requests, one, "somebody")
    assert next_phase(requests, now)[0][1] == "prepare"
