"""The webhook that Fides calls: an erasure in its shape makes one request, sent again it is still one."""

import pytest

from neuralyzer.service.requests import id_of
from tests.service.http import new

# The bodies of fidesops 1, fides 2.40 and fides 2.66, by their own schema SecondPartyRequestFormat.
EARLY = {
    "privacy_request_id": "pri_029832ba-9b84-40f7-8946-82aec6f95448", "direction": "one_way", "callback_type": "pre",
    "identity": {"email": "customer-1@example.com", "phone_number": "5555551234"}, "policy_action": "erasure",
}  # fmt: skip
MIDDLE = EARLY | {"privacy_request_status": "in_processing", "direction": "two_way", "callback_type": "post"}
LATER = MIDDLE | {
    "identity": {"email": "customer-1@example.com", "phone_number": None, "ga_client_id": None,
                 "controller_customer_id": {"label": "Customer", "value": 17}},
    "privacy_request": {"id": "pri_029832ba", "status": "in_processing"}, "timestamp": "2026-11-02T10:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (EARLY, ("customer-1@example.com",)),
        (MIDDLE, ("customer-1@example.com",)),
        (LATER, ("17", "customer-1@example.com")),
    ],
)
def test_an_erasure_makes_one_request(both, body, names):
    answer = both.client().post("/fides/webhook", json=body)
    assert answer.status_code == 200 and answer.json()["halt"] is False
    assert answer.json()["request"] == id_of(f"fides:{body['privacy_request_id']}")
    assert both.client("admin").post("/fides/webhook", json=body).json() == answer.json()
    (kept,) = both.service.requests.find()
    assert kept.erasure.subjects == names and kept.external["privacy_request_id"] == body["privacy_request_id"]


@pytest.mark.parametrize(
    "more",
    [
        {"policy_action": "access"},
        {"policy_action": None},
        {"callback_type": "pre_approval"},
        {"identity": {}},
        {"identity": {"phone_number": "1"}},
        {"identity": {"email": "a\nb"}},
        {"identity": {"email": ["a"]}},
        {"privacy_request_id": "../x"},
    ],
    ids=str,
)
def test_what_is_no_erasure_is_refused(world, more):
    answer = world.client().post("/fides/webhook", json=EARLY | more)
    assert answer.status_code in (409, 422) and "customer-1" not in answer.text
    assert world.service.requests.find() == []


def test_another_body_for_the_same_request_is_refused(world):
    world.client().post("/fides/webhook", json=EARLY)
    other = EARLY | {"identity": {"email": "somebody-else@example.com"}}
    for scope in ("request", "admin"):
        assert world.client(scope).post("/fides/webhook", json=other).status_code == 409
    assert new(world.client())["id"] != id_of(f"fides:{EARLY['privacy_request_id']}")
