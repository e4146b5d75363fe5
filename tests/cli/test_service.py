"""The verbs of the service: on its database, without a server; and the server as a process of its own."""

import getpass
import json
import re
import threading

import pytest

from neuralyzer.cli import extras
from neuralyzer.service.opening import requests_of
from neuralyzer.service.states import State
from tests.service.http import lay_out


@pytest.fixture
def shop(tmp_path, in_folder):
    root = tmp_path / "shop"
    root.mkdir()
    lay_out(root)
    return in_folder(root)


def made(shop, *more):
    return shop("request", "new", "--subject", "c1@example.com", *more, "--json").json


def test_a_request_is_made_listed_and_shown(shop):
    first = made(shop, "--due", "2030-05-01")
    second = made(shop, "--received", "2026-01-10", "--method", "retrain", "--priority", "2")
    assert re.fullmatch("req-[0-9a-f]{16}", first["id"]) and first["client"] == f"cli:{getpass.getuser()}"
    assert (second["due"], second["method"], second["priority"]) == ("2026-02-10", "retrain", 2)
    listed = shop("request", "list", "--json").json
    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    assert "late" in shop("request", "list").out and "c1@example.com" not in shop("request", "list").out
    shown = shop("request", "show", first["id"], "--json").json
    assert shown["erasure"]["subjects"] == ["c1@example.com"] and [one["kind"] for one in shown["events"]] == [
        "received"
    ]
    assert shop("request", "list", "--state", "planned", "--json").json == []


def test_decisions_are_recorded_with_who_made_them(shop):
    one, other = made(shop)["id"], made(shop)["id"]
    assert shop("request", "extend", one, "--reason", "many requests", "--json").json["extended"] == "many requests"
    assert shop("request", "cancel", one, "--reason", "withdrawn", "--json").json["state"] == "cancelled"
    assert shop("request", "refuse", other, "--reason", "a duty to keep it", "--json").json["state"] == "refused"
    told = shop("request", "show", other, "--json").json["events"][-1]
    assert told["facts"] == {"by": f"cli:{getpass.getuser()}", "reason": "a duty to keep it"}


def test_a_plan_is_approved_and_a_stuck_request_taken_up_again(shop):
    id_ = made(shop)["id"]
    _, requests = requests_of(shop.path("neuralyzer.toml"))
    requests.move([id_], State.PREPARING, "preparing")
    requests.move([id_], State.PLANNED, "planned")
    assert shop("request", "approve", id_, "--json").json["approved"] == "unlearn"
    requests.move([id_], State.NEEDS_PERSON, "stuck")
    assert shop("request", "again", id_, "--json").json["state"] == "received"
    requests.database.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("request", "new"), "names none"),
        (("request", "new", "--subject", "a", "--method", "magic"), "no method 'magic'"),
        (("request", "show", "req-1"), "no request 'req-1'"),
        (("request", "list", "--state", "lost"), "is no state"),
        (("request", "cancel", "req-1"), "--reason"),
        (("request", "cancel", "req-1", "--reason", " "), "give a reason"),
        (("request", "approve", "req-1"), "no request"),
        (("case", "watch", "req-1"), "no request"),
        (("token", "new", "a", "--scope", "root"), "is no scope"),
        (("serve", "--port", "0"), "greater than"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(shop, arguments, says):
    assert says in shop(*arguments).complaint


def test_a_case_is_watched_until_it_is_closed(shop):
    id_ = made(shop)["id"]
    _, requests = requests_of(shop.path("neuralyzer.toml"))
    timer = threading.Timer(1.0, requests.move, ([id_], State.CANCELLED, "cancelled", {"reason": "withdrawn"}))
    timer.start()
    lines = [json.loads(line) for line in shop("case", "watch", id_, "--json").out.splitlines()]
    timer.join()
    assert [line["kind"] for line in lines] == ["received", "cancelled"]
    assert "cancelled  reason=withdrawn" in shop("case", "watch", id_).out
    requests.database.close()


def test_without_the_extra_serve_says_what_to_install(shop, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    assert "pip install 'neuralyzer-unlearning[service]'" in shop("serve").complaint


def test_a_recipe_outside_the_folders_is_not_served(shop):
    shop.edit("oracle:recipe", "os:system")
    assert "not in recipe_roots" in shop("serve").complaint
