"""A server that is killed: nobody's request is lost or doubled, and its workers do not outlive it."""

import secrets
import time
from collections import Counter
from contextlib import contextmanager

import httpx
import psutil
import pytest

from benchmarks.service import Server
from neuralyzer.project.project import Project
from neuralyzer.service.states import State

BEGUN = (State.PREPARING, State.UNLEARNING, State.JUDGED, State.DONE)
PATIENCE = 30  # seconds, for what takes one


@contextmanager
def served(root):
    """A server with one worker; killed at the end, whatever it is at."""
    server = Server(root, workers=1)
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def asked(server, token, key, name):
    """Make a request, as often as it takes to get an answer."""
    body = {"subjects": [name], "guarantee": "exact"}
    return httpx.post(f"{server.url}/v1/requests", json=body, headers=token | {"Idempotency-Key": key}).json()["id"]


@pytest.mark.slow
def test_a_server_that_is_killed_loses_and_doubles_nothing(service):
    keys = {name: secrets.token_hex(8) for name in ("c0", "c1", "c3")}
    root, ids, token = service.folder.root, {}, None
    for killed, (name, key) in enumerate(keys.items()):
        with served(root) as server:
            token = token or server.token()
            ids[name] = asked(server, token, key, name)
            service.wait(lambda one: one.state in BEGUN, [ids[name]])
            time.sleep(0.3 * killed)
            workers = psutil.Process(server.process.pid).children()
        gone, alive = psutil.wait_procs(workers, PATIENCE)
        assert len(gone) == 1 and not alive, "a worker outlived its server"
    with served(root) as server:
        # An answer may have got lost with the server, so clients ask again.
        assert [asked(server, token, key, name) for name, key in keys.items()] == list(ids.values())
        found = service.closed(*ids.values())
        service.wait(lambda one: one.erasure is None, list(ids.values()))
    assert [one.state for one in found] == [State.DONE] * 3 and len(service.requests.find()) == 3
    assert Project.read(service.path).lineage.current == 3
    for one in found:
        told = Counter(service.kinds(one.id))
        assert told["received"] == told["judged"] == told["released"] == 1
        assert (service.case(one) / "certificate.json").exists()
    ledger = Project.read(service.path).ledger
    assert ledger.check() == []
    for one in found:
        assert [entry.event for entry in ledger.entries_of(one.id)] == ["received", "released"]
