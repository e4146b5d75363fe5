"""A real server in a process of its own: two on one database, what they log, how they end; and under load."""

import json
import os
import secrets
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.service import lay_out, load, serving, soak

NAME = "Anna Secret"


@pytest.fixture
def server(tmp_path):
    with serving(lay_out(tmp_path)) as made:
        yield made


def test_two_servers_on_one_database_make_one_request_of_one_key(server, tmp_path):
    first_log = server.log.rename(tmp_path / "first.log")
    with serving(lay_out(tmp_path)) as second:
        token = server.token()
        key = token | {"Idempotency-Key": secrets.token_hex(8)}

        def ask(place):
            url = (server, second)[place % 2].url
            return httpx.post(f"{url}/v1/requests", json={"subjects": [NAME]}, headers=key)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(16)))
        assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
        id_ = answers[0].json()["id"]
        assert len(server.requests.find()) == 1
        secret = token["Authorization"].split("_")[2]
        url = f"{second.url}/v1/cases/{id_}"
        assert httpx.get(f"{url}?token={secret}", headers=token).status_code == 400
        assert httpx.get(f"{url}/../../../etc/passwd", headers=token).status_code == 404
        assert httpx.post(f"{url}/cancel", content=b"\x80", headers=token).status_code == 415
        with httpx.stream("GET", f"{url}/events", headers=token) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: received"
            httpx.post(f"{server.url}/v1/cases/{id_}/cancel", json={"reason": NAME}, headers=token)
            rest = list(lines)  # it ends, since the other server closed the request
        assert "event: cancelled" in rest and "event: closed" in rest
    log = first_log.read_text() + second.log.read_text()
    assert "POST /v1/requests 201" in log and "GET /v1/cases/{id} 400" not in log and "/v1/cases/{id}/events 200" in log
    for word in (NAME, "Secret", secret, "etc/passwd", id_, "Traceback"):
        assert word not in log, word


def test_it_ends_soon_though_a_stream_is_open(server):
    token = server.token()
    id_ = httpx.post(f"{server.url}/v1/requests", json={"subjects": ["a"]}, headers=token).json()["id"]
    with httpx.stream("GET", f"{server.url}/v1/cases/{id_}/events", headers=token) as stream:
        next(stream.iter_lines())
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(30) in (0, -15) and time.monotonic() - began < 15
    assert "Traceback" not in server.log.read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_calls_of_the_page_on_the_service_work(server):
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    calls = [line for line in page.splitlines() if line.startswith("curl ")]
    own = os.environ | {"TOKEN": server.token("admin")["Authorization"].removeprefix("Bearer "), "ID": ""}
    for call in calls:
        line = call.replace("http://127.0.0.1:8000", server.url)
        done = subprocess.run(["bash", "-c", line], env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (call, done.stderr)
        if "Idempotency-Key" in call:
            own["ID"] = json.loads(done.stdout)["id"]
    assert len(calls) > 5 and "event: closed" in done.stdout


@pytest.mark.slow
def test_1000_requests_by_20_clients_are_neither_lost_nor_doubled(server):
    found = load(server, 1000, 20)
    assert (
        found["kept"] == 1000 and found["lost"] == found["doubled"] == found["unasked"] == found["events_doubled"] == 0
    )
    assert found["seconds"] < 30
    assert soak(server, 2000, 500)["grown"] < 0.1
