"""Requests over HTTP: taken in once, listed, and shown without names to those who may not see them."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

from neuralyzer.service.deadlines import due
from neuralyzer.service.states import State
from tests.service.http import new, world_of

KEY = {"Idempotency-Key": "5b1f5d5e-6d1c-4a9d-9a55-2a3f9b0a1111"}


def test_a_request_is_taken_in_and_due_in_a_month(both):
    client = both.client()
    answer = client.post("/v1/requests", json={"subjects": ["c1@example.com"], "guarantee": "strong", "priority": 3})
    made = answer.json()
    assert answer.status_code == 201 and answer.headers["Location"] == f"/v1/cases/{made['id']}"
    assert made["due"] == due(dt.datetime.now(dt.UTC).date()).isoformat() and made["model"] == "shop"
    assert (made["state"], made["priority"], made["client"]) == ("received", 3, both.token("request"))
    assert client.get(f"/v1/cases/{made['id']}").json() == made
    kept = both.service.requests.get(made["id"])
    assert kept.erasure.subjects == ("c1@example.com",) and kept.erasure.guarantee == "strong"


@pytest.mark.parametrize(
    "form",
    [
        {"rows": ["r1", "r2"]},
        {"classes": ["3"]},
        {"where": "age < 18"},
        {"subjects": ["Zoë Müller", "李雷", "O'Brien; DROP TABLE requests", "<b>x</b>"]},
        {"subjects": ["a"], "rows": ["1"], "due": "2030-01-31", "received": "2026-01-02", "reason": "bias"},
        {"subjects": ["a"], "method": "retrain", "model": "shop", "also_near": True},
    ],
)
def test_all_that_can_be_asked_for_comes_back(world, form):
    made = new(world.client(), **{"subjects": []} | form)
    for name in set(form) & {"subjects", "rows", "classes", "where", "reason", "also_near"}:
        assert made["erasure"][name] == form[name]
    assert made["due"] == form.get("due", made["due"]) and made["method"] == form.get("method")
    if "received" in form:
        assert made["received"].startswith(form["received"])


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"subjects": []},
        {"subjects": "c1"},
        {"subjects": [""]},
        {"subjects": ["a\nb"]},
        {"subjects": ["a\x00b"]},
        {"subjects": ["a\u2028b"]},
        {"subjects": ["x" * 501]},
        {"subjects": ["x"] * 1001},
        {"subjects": [1]},
        {"subjects": ["a"], "guarantee": "perfect"},
        {"subjects": ["a"], "reason": "<script>"},
        {"subjects": ["a"], "reason": "a\nb"},
        {"subjects": ["a"], "due": "tomorrow"},
        {"subjects": ["a"], "due": "2020-01-01", "received": "2021-01-01"},
        {"subjects": ["a"], "received": "2999-01-01"},
        {"subjects": ["a"], "priority": 10},
        {"subjects": ["a"], "priority": -1},
        {"subjects": ["a"], "method": "../../etc/passwd"},
        {"subjects": ["a"], "method": "no-such-method"},
        {"subjects": ["a"], "model": "another"},
        {"subjects": ["a"], "weights": "/etc/passwd"},
        {"subjects": ["a"], "recipe": "os:system"},
        {"where": ""},
        [],
        "text",
        None,
    ],
    ids=str,
)
def test_what_has_not_the_form_is_refused_and_leaves_nothing(world, form):
    answer = world.client().post("/v1/requests", json=form)
    assert answer.status_code in (409, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert world.service.requests.find() == []


def test_a_lone_surrogate_is_no_name(world):
    answer = world.client().post(
        "/v1/requests", content=b'{"subjects": ["\\ud800"]}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text


def test_the_same_key_makes_one_request(both):
    client = both.client()
    first = client.post("/v1/requests", json={"subjects": ["a"]}, headers=KEY)
    second = client.post("/v1/requests", json={"subjects": ["a"]}, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 200) and first.json() == second.json()
    other = client.post("/v1/requests", json={"subjects": ["b"]}, headers=KEY)
    assert other.status_code == 409 and "Idempotency-Key" in other.json()["detail"]
    method = client.post("/v1/requests", json={"subjects": ["a"], "method": "retrain"}, headers=KEY)
    assert method.status_code == 409
    assert both.client("admin").post("/v1/requests", json={"subjects": ["a"]}, headers=KEY).status_code == 201
    assert len(both.service.requests.find()) == 2


def test_the_same_key_at_the_same_moment_makes_one_request(both):
    def ask(_):
        return both.client().post("/v1/requests", json={"subjects": ["a"]}, headers=KEY)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_two_services_share_one_database(tmp_path, database_url):
    one = world_of(tmp_path, url=database_url)
    other = world_of(tmp_path, url=database_url)
    made = new(one.client())
    other.secrets = one.secrets
    assert other.client().get(f"/v1/cases/{made['id']}").json() == made
    one.service.tokens.revoke(one.token("request"))
    assert other.client().get(f"/v1/cases/{made['id']}").status_code == 401
    for world in (one, other):
        world.service.requests.database.close()


def test_pages_have_each_request_once_and_the_earliest_due_date_first(both):
    client = both.client()
    days = [f"2030-01-{day:02}" for day in (9, 3, 27, 1, 14, 3, 20)]
    made = {new(client, subjects=[f"s{place}"], due=day)["id"] for place, day in enumerate(days)}
    found, start = [], 0
    while start is not None:
        page = client.get("/v1/requests", params={"start": start, "limit": 3}).json()
        assert len(page["requests"]) <= 3
        found, start = [*found, *page["requests"]], page["next"]
    assert [one["due"] for one in found] == sorted(days) and {one["id"] for one in found} == made


def test_lists_are_filtered_by_state(world):
    client = world.client()
    ids = [new(client, subjects=[f"s{place}"])["id"] for place in range(4)]
    world.service.requests.move(ids[:1], State.PREPARING, "preparing")
    client.post(f"/v1/cases/{ids[1]}/cancel", json={"reason": "withdrawn"})

    def shown(**query):
        return {one["id"] for one in client.get("/v1/requests", params=query).json()["requests"]}

    assert shown(state="received") == set(ids[2:]) and shown(state=["received", "preparing"]) == {ids[0], *ids[2:]}
    assert shown(open=True) == {ids[0], *ids[2:]} and shown(state="cancelled", open=True) == set()
    assert shown(model="shop") == set(ids) and shown(model="another") == set()
    assert client.get("/v1/requests", params={"state": "lost"}).status_code == 422


def test_a_late_request_says_so(world):
    late = new(world.client(), due="2026-01-01", received="2025-12-01")
    assert late["late"] and not new(world.client(), due="2999-01-01")["late"]


def test_who_may_only_read_sees_no_name(world):
    made = new(world.client(), subjects=["Anna Secret"], where="email = 'anna'")
    world.service.requests.note(made["id"], "failed", {"reason": "Anna Secret asked"}, message="no row of Anna Secret")
    for scope in ("read", "approve"):
        client = world.client(scope)
        for path in ("/v1/requests", f"/v1/cases/{made['id']}", "/metrics"):
            answer = client.get(path)
            assert answer.status_code == 200 and "anna" not in answer.text.lower(), (scope, path)
    assert "no row of Anna Secret" in world.client().get(f"/v1/cases/{made['id']}").text
