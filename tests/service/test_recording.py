"""Events told to the ledger: each once, whatever happens between; no name stays in a closed request."""

import json

import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.ledger.log import Ledger
from neuralyzer.service import decisions, recording
from neuralyzer.service.request import Change
from neuralyzer.service.requests import Requests
from neuralyzer.service.states import State
from neuralyzer.workspace.paths import Workspace

WEIGHTS = "ab" * 32


@pytest.fixture
def requests(database_url):
    made = Requests(database_url)
    yield made
    made.database.close()


@pytest.fixture
def ledger(tmp_path):
    return Ledger.of(Workspace(tmp_path / "workspace"))


def ask(requests, name="Ada <b>"):
    return requests.create("oracle", ErasureRequest(subjects=[name]), "token")[0].id


def told(ledger, request):
    return [(entry.event, entry.facts) for entry in ledger.entries_of(request)]


def test_what_happened_is_told_once_and_names_go_when_it_was(requests, ledger):
    request = ask(requests)
    decisions.extend(requests, request, "token", "many requests")
    requests.move([request], State.PREPARING, "preparing", {"batch": "b"})
    requests.move([request], State.PLANNED, "planned", case="case-0123456789ab")
    decisions.approve(requests, request, "token")
    requests.move([request], State.UNLEARNING, "unlearning")
    requests.move([request], State.JUDGED, "judged", verdict="forgotten")
    decisions.approve(requests, request, "token")
    requests.move([request], State.DONE, "released", {"version": 1, "weights": WEIGHTS})
    assert requests.get(request).erasure is not None, "the ledger does not know yet"
    assert recording.record(requests, ledger) == 9 and recording.record(requests, ledger) == 0
    found = told(ledger, request)
    assert [event for event, _ in found] == ["received", "extended", "approved", "approved", "released"]
    assert [facts.get("stage") for _, facts in found[2:4]] == ["before unlearning", "before release"]
    assert found[1][1]["reason"] == "many requests" and found[-1][1] == {"weights": WEIGHTS}
    assert "token" not in json.dumps(found), "who decided is kept as a commitment"
    assert requests.get(request).erasure is None
    assert ledger.check() == []


def test_what_is_told_again_after_a_kill_is_there_once(requests, ledger, monkeypatch):
    first, second = ask(requests, "Ada"), ask(requests, "Bob")
    decisions.refuse(requests, second, "token", "manifestly unfounded")

    def killed(numbers):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(requests, "recorded", killed)
        with pytest.raises(KeyboardInterrupt):
            recording.record(requests, ledger)
    before = len(ledger)
    recording.record(requests, ledger)
    assert len(ledger) == before == 3
    assert [event for event, _ in told(ledger, second)] == ["received", "refused"]
    assert requests.get(first).erasure is not None and requests.get(second).erasure is None


def test_a_persons_own_words_are_not_in_the_ledger(requests, ledger):
    request = ask(requests)
    decisions.cancel(requests, request, "token", "Ada changed her mind")
    recording.record(requests, ledger)
    ((_, _), (event, facts)) = told(ledger, request)
    assert event == "cancelled" and facts["reason"] == "other" and len(facts["result"]) == 64
    content = b"".join(body for _, body in ledger.store.entries())
    assert b"Ada" not in content and b"req-" not in content and request.encode() not in content


def test_two_failures_and_an_escalation_are_three_entries(requests, ledger):
    request = ask(requests)
    for _ in range(2):
        requests.move([request], State.PREPARING, "preparing")
        requests.change([Change(request, State.RECEIVED, "failed", {"error": "OSError", "tries": 1})])
    requests.move([request], State.PREPARING, "preparing")
    requests.move([request], State.PLANNED, "planned")
    requests.move([request], State.UNLEARNING, "unlearning")
    facts = {"verdict": "not forgotten", "method": "finetune", "weights": WEIGHTS, "case": "case-1"}
    requests.move([request], State.RECEIVED, "escalated", facts)
    recording.record(requests, ledger)
    assert [event for event, _ in told(ledger, request)] == ["received", "failed", "failed", "escalated"]
    assert told(ledger, request)[-1][1] == {
        "reason": "not forgotten", "verdict": "not forgotten", "method": "finetune", "weights": WEIGHTS
    }  # fmt: skip


def test_a_second_failure_is_told_as_the_second_however_long_the_training_between(requests, ledger):
    request = ask(requests)
    for step in range(1100):  # more events than are read at once
        requests.show([request], "progress", {"done": step})
    requests.move([request], State.PREPARING, "preparing")
    requests.change([Change(request, State.RECEIVED, "failed", {"error": "OSError", "tries": 1})])
    recording.record(requests, ledger)
    requests.move([request], State.PREPARING, "preparing")
    requests.change([Change(request, State.RECEIVED, "failed", {"error": "OSError", "tries": 2})])
    recording.record(requests, ledger)
    assert [event for event, _ in told(ledger, request)] == ["received", "failed", "failed"]
