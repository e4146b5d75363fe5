"""A worker that makes the pool of a first request on a Ray cluster of two nodes, one of which is killed."""

import shutil

import numpy as np
import pytest

from neuralyzer.service.states import State
from tests.cluster import two_nodes

AT_ONCE = "from neuralyzer.references.measurement import all_members; all_members.SPREAD = 0"  # measured on the cluster
SETTINGS = '[references]\nautomatic = true\nengine = "{engine}"'


@pytest.fixture
def without_pool(services):
    def make(engine):
        service = services(engine)
        shutil.rmtree(service.folder.path(".neuralyzer/references"))
        service.folder.edit("[references]", SETTINGS.format(engine=engine))
        service.folder.edit('backend = "vectorised"', 'backend = "processes"')
        return service

    return make


def pool_of(service):
    return {path.name: np.fromfile(path, np.float32) for path in service.folder.pool.glob("signals/*.f32")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_references_are_the_same_though_a_node_is_killed(without_pool, monkeypatch):
    found, pools = [], []
    with two_nodes(monkeypatch) as kill:
        service = without_pool("ray")
        asked = service.ask("c0")
        service.worker(AT_ONCE)
        service.wait(lambda one: one.state is State.NEEDS_PERSON or trained(service, one.id) >= 3, [asked])
        kill()
        found += service.closed(asked)
        pools.append(pool_of(service))
    service = without_pool("loky")
    asked = service.ask("c0")
    service.worker(AT_ONCE)
    found += service.closed(asked)
    pools.append(pool_of(service))
    assert [one.state for one in found] == [State.DONE] * 2, [one.message for one in found]
    assert {one.verdict for one in found} == {"forgotten"}
    assert pools[0].keys() == pools[1].keys() and len(pools[0]) > 10
    for name, values in pools[0].items():
        np.testing.assert_array_equal(values, pools[1][name], err_msg=name)


def trained(service, request):
    told = [event.facts for event in service.requests.events(request) if event.kind == "progress"]
    return max((one["done"] for one in told if "references" in one["step"]), default=0)
