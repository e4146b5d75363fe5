"""Workers that are killed: nothing is lost, nothing has an effect twice, and the weights are the same."""

import json
import time
from collections import Counter

import numpy as np
import pytest

from neuralyzer.project.project import Project
from neuralyzer.service.states import State
from neuralyzer.workspace import digests

NAMES = ("c0", "c1", "c3")
ONCE = ("received", "released", "judged", "planned")  # events of which each request has one


def answered(service, ids):
    """What each request came to: its verdict, and the tensors of its weights."""
    found = service.closed(*ids)
    assert [one.state for one in found] == [State.DONE] * len(ids), [one.message for one in found]
    results = [json.loads((service.case(one) / "result.json").read_text()) for one in found]
    return [(result["verdict"], result["weights"]["unlearned"]) for result in results]


def kill_at_random(service, ids, kills, seed):
    """Kill workers at random moments, always with another one to follow; return how many were killed at work."""
    generator, at_work = np.random.default_rng(seed), 0
    for _ in range(kills):
        process = service.worker()
        time.sleep(float(generator.uniform(1.5, 8.0)))
        states = [service.requests.get(one).state for one in ids]
        at_work += any(state in (State.PREPARING, State.UNLEARNING, State.JUDGED) for state in states)
        process.kill()
        process.wait()
        if all(state is State.DONE for state in states):
            break
    return at_work


def sound(service, ids):
    """Nothing happened twice, and no file is half-written."""
    for one in ids:
        told = Counter(kind for kind in service.kinds(one) if kind in ONCE)
        assert told == dict.fromkeys(ONCE, 1), service.kinds(one)
    versions = Project.read(service.path).lineage.versions
    assert len(versions) == len(ids) + 1, "each is released once"
    for one in service.requests.find():
        certificate = service.case(one) / "certificate.json"
        assert digests.of_file(certificate) and not service.folder.parts


def same_as_never_killed(service, kills, seed):
    ids = [service.ask(name, guarantee="exact") for name in NAMES]
    at_work = kill_at_random(service, ids, kills, seed)
    service.worker()
    found = answered(service, ids)
    sound(service, ids)
    assert len({weights for _, weights in found}) == len(NAMES)
    return at_work, found


def test_a_worker_that_is_killed_is_followed_by_another(service):
    ids = [service.ask("c0", guarantee="exact")]
    first = service.worker()
    service.wait(lambda one: one.state is State.UNLEARNING, ids)
    first.kill()
    service.worker()
    answered(service, ids)
    sound(service, ids)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_fifty_kills_end_in_the_same_weights(services):
    _, expected = same_as_never_killed(services("never killed"), 0, seed=0)
    killed, seed = 0, 1
    while killed < 50:
        at_work, found = same_as_never_killed(services(f"killed {seed}"), 12, seed)
        assert found == expected
        killed, seed = killed + at_work, seed + 1
