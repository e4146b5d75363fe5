"""One case over HTTP: decisions with their reasons, and its documents."""

import json

import pytest

from neuralyzer.service.states import State
from tests.service.http import new

CASE = "case-0123456789ab"
PLAN = {"options": [{"method": "retrain", "chosen": True}, {"method": "influence", "chosen": False}], "note": ""}


def planned(world, state=State.PLANNED):
    made = new(world.client())
    world.service.requests.move([made["id"]], State.PREPARING, "preparing")
    world.service.requests.move([made["id"]], State.PLANNED, "planned", case=CASE)
    if state is State.JUDGED:
        world.service.requests.move([made["id"]], State.UNLEARNING, "unlearning")
        world.service.requests.move([made["id"]], State.JUDGED, "judged", verdict="forgotten")
    folder = world.service.settings.workspace / "cases" / CASE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(PLAN))
    return made["id"], folder


def test_an_approval_may_choose_an_option_of_the_plan(both):
    id_, _ = planned(both)
    client = both.client("approve")
    assert client.get(f"/v1/cases/{id_}/plan").json() == PLAN
    assert client.get(f"/v1/cases/{id_}").json()["waits_for_approval"]
    assert client.post(f"/v1/cases/{id_}/approve", json={"method": "finetune"}).status_code == 409
    answer = client.post(f"/v1/cases/{id_}/approve", json={"method": "influence"})
    assert answer.status_code == 200
    assert (answer.json()["approved"], answer.json()["method"]) == ("unlearn", "influence")
    assert not answer.json()["waits_for_approval"]
    told = both.service.requests.events(id_)[-1]
    assert told.facts == {"what": "unlearn", "by": both.token("approve"), "method": "influence"}


def test_a_release_is_approved_without_a_method(world):
    id_, _ = planned(world, State.JUDGED)
    client = world.client("approve")
    assert client.post(f"/v1/cases/{id_}/approve", json={"method": "retrain"}).status_code == 409
    assert client.post(f"/v1/cases/{id_}/approve", json={}).json()["approved"] == "release"


def test_nothing_is_approved_where_nothing_waits(world):
    made = new(world.client())
    answer = world.client("approve").post(f"/v1/cases/{made['id']}/approve", json={})
    assert answer.status_code == 409 and "nothing to approve" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("verb", "scope", "state"), [("cancel", "request", "cancelled"), ("refuse", "approve", "refused")]
)
def test_what_ends_a_request_is_recorded_with_its_reason(both, verb, scope, state):
    made = new(both.client())
    path = f"/v1/cases/{made['id']}/{verb}"
    answer = both.client(scope).post(path, json={"reason": "it was withdrawn\nby letter"})
    assert (answer.status_code, answer.json()["state"]) == (200, state)
    told = both.service.requests.events(made["id"])[-1]
    assert (told.kind, told.facts) == (state, {"by": both.token(scope), "reason": "it was withdrawn by letter"})
    assert both.client(scope).post(path, json={"reason": "again"}).status_code == 409


def test_a_due_date_is_extended_once_with_a_reason(world):
    made = new(world.client())
    path = f"/v1/cases/{made['id']}/extend"
    answer = world.client("approve").post(path, json={"reason": "many requests"})
    assert answer.status_code == 200 and answer.json()["due"] > made["due"] and answer.json()["extended"]
    assert answer.json()["extension_reason"] is None  # the scope approve sees no free text
    assert world.client().get(f"/v1/cases/{made['id']}").json()["extension_reason"] == "many requests"
    assert world.client("approve").post(path, json={"reason": "once more"}).status_code == 409


def test_a_request_that_waits_for_a_person_is_taken_up_again(world):
    made = new(world.client())
    path = f"/v1/cases/{made['id']}/again"
    world.service.requests.move([made["id"]], State.NEEDS_PERSON, "stuck", message="no such subject")
    assert world.client("approve").post(path).json()["state"] == "received"
    world.service.requests.move([made["id"]], State.PREPARING, "preparing")
    assert world.client("approve").post(path).status_code == 409


@pytest.mark.parametrize("form", [{}, {"reason": ""}, {"reason": " \n "}, {"reason": "x" * 501}, {"reason": "a\x1bb"}])
def test_no_decision_without_a_reason(world, form):
    made = new(world.client())
    for verb, scope in (("cancel", "request"), ("refuse", "approve"), ("extend", "approve")):
        answer = world.client(scope).post(f"/v1/cases/{made['id']}/{verb}", json=form)
        assert answer.status_code == 422, (verb, answer.text)
    assert len(world.service.requests.events(made["id"])) == 1


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("approve", {}),
        ("extend", {"reason": "r"}),
        ("refuse", {"reason": "r"}),
        ("again", None),
        ("cancel", {"reason": "r"}),
    ],
)
def test_each_decision_needs_its_scope(world, verb, body):
    made = new(world.client())
    lacking = {"read", "request" if verb != "cancel" else "approve"}
    for scope in lacking:
        answer = world.client(scope).post(f"/v1/cases/{made['id']}/{verb}", json=body)
        assert answer.status_code == 403 and "insufficient_scope" in answer.headers["WWW-Authenticate"]
    assert world.client("admin").post(f"/v1/cases/{made['id']}/{verb}", json=body).status_code in (200, 409)


def judged(world, named=False):
    id_, folder = planned(world, State.JUDGED)
    (folder / "result.json").write_text(json.dumps({"policy": {"name_subject": named}}))
    (folder / "certificate.json").write_text('{"payload": "x"}')
    (folder / "report.html").write_text("<h1>&lt;b&gt;report</h1>")
    return id_, folder


def test_report_and_certificate_are_those_of_the_requests_own_case(world):
    id_, _ = judged(world)
    report = world.client().get(f"/v1/cases/{id_}/report")
    assert report.text == "<h1>&lt;b&gt;report</h1>" and report.headers["content-type"].startswith("text/html")
    assert (
        "sandbox" in report.headers["Content-Security-Policy"]
        and "script" not in report.headers["Content-Security-Policy"]
    )
    certificate = world.client("read").get(f"/v1/cases/{id_}/certificate")
    assert certificate.json() == {"payload": "x"} and CASE in certificate.headers["Content-Disposition"]
    assert world.client("read").get(f"/v1/cases/{id_}/report").status_code == 403


def test_a_certificate_that_names_its_subject_is_not_for_readers(world):
    id_, _ = judged(world, named=True)
    assert world.client("read").get(f"/v1/cases/{id_}/certificate").status_code == 403
    assert world.client().get(f"/v1/cases/{id_}/certificate").status_code == 200


@pytest.mark.parametrize("case", [None, "case-ffffffffffff", "../../oracle", "case-0123456789ab/../..", "/etc"])
def test_no_other_file_is_ever_opened(world, case):
    id_, _ = judged(world)
    world.service.requests.note(id_, "changed", case=case)
    for name in ("report", "certificate", "plan"):
        assert world.client().get(f"/v1/cases/{id_}/{name}").status_code == 404, name


def test_what_is_not_there_yet_is_404(world):
    made = new(world.client())
    for name in ("report", "certificate", "plan"):
        answer = world.client().get(f"/v1/cases/{made['id']}/{name}")
        assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
    assert world.client().get("/v1/cases/req-0000000000000000").status_code == 404
