"""Health, and the numbers for Prometheus, read back by its own parser."""

import shutil
import time

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from neuralyzer.service.states import State
from neuralyzer.service.tables import requests, workers
from tests.service.http import new


def test_live_and_ready_need_no_token(world):
    client = world.client(None)
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    shutil.rmtree(world.service.settings.workspace)
    assert client.get("/health/ready").status_code in (503, 500)
    assert client.get("/health/live").status_code == 200


def numbers(world, scope="read"):
    answer = world.client(scope).get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_states_late_ones_answers_and_workers(both):
    client = both.client()
    made = [new(client, subjects=[f"s{place}"])["id"] for place in range(4)]
    new(client, due="2026-01-01", received="2025-12-01")
    client.post(f"/v1/cases/{made[0]}/cancel", json={"reason": "withdrawn"})
    with both.service.requests.database.transaction(writes=True) as connection:
        past = "2026-11-01T00:00:00+00:00"
        connection.execute(sa.update(requests).where(requests.c.id == made[0]).values(received=past))
        connection.execute(sa.insert(workers).values(id="host-1.17.abcdef", beat=time.time() - 7, busy=None))
    found = numbers(both)
    assert found["neuralyzer_requests", "received"] == 4 and found["neuralyzer_requests", "cancelled"] == 1
    assert found["neuralyzer_requests", "done"] == 0 and found["neuralyzer_requests_late",] == 1
    assert found["neuralyzer_answer_seconds_count",] == 1
    assert found["neuralyzer_answer_seconds_sum",] == pytest.approx(
        (time.time() - 1793491200), rel=0.01
    )  # from 1 November 2026
    assert found["neuralyzer_worker_heartbeat_age_seconds", "host-1.17.abcdef"] == pytest.approx(7, abs=3)
    assert both.client(None).get("/metrics").status_code == 401


def test_each_state_has_a_number(world):
    assert {labels[0] for name, *labels in numbers(world) if name == "neuralyzer_requests"} == set(State)
