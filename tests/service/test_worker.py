"""A worker answers requests, as a process of its own, on a real project."""

import json
import time
from pathlib import Path

from neuralyzer.cases.stages import Stages
from neuralyzer.certificates.check import check
from neuralyzer.errors import NoVerdictError
from neuralyzer.ledger.log import Ledger
from neuralyzer.project.project import Project
from neuralyzer.service import decisions
from neuralyzer.service.run import Run
from neuralyzer.service.states import State

OF_A_CASE = ["received", "located", "audited", "planned", "unlearned", "verified", "certified"]


def test_requests_are_answered_one_after_the_other(service):
    first, second = service.ask("c0", guarantee="exact"), service.ask("c1", guarantee="exact")
    service.worker()
    service.closed(first, second)
    found = service.wait(lambda one: one.erasure is None, [first, second])  # no name is left once the ledger knows
    assert [one.state for one in found] == [State.DONE, State.DONE] and found[0].batch != found[1].batch
    for number, one in enumerate(found, 1):
        assert one.verdict == "forgotten"
        assert service.kinds(one.id)[-2:] == ["judged", "released"]
        result = json.loads((service.case(one) / "result.json").read_text())
        assert check(service.case(one) / "certificate.json", Path(result["weights_file"])).ok
        ledger = Ledger.of(Project.read(service.path).workspace)
        assert [entry.event for entry in ledger.entries_of(one.case)] == OF_A_CASE
        assert [entry.event for entry in ledger.entries_of(one.id)] == ["received", "released"]
        assert ledger.check() == []
        released = [event for event in service.requests.events(one.id) if event.kind == "released"]
        assert [event.facts["version"] for event in released] == [number]
    lineage = Project.read(service.path).lineage
    assert lineage.current == 2 and len(lineage.version.erased) == 80
    assert '"c0"' not in service.folder.path(".neuralyzer/lineage.json").read_text()
    asked_again = service.ask("c0", guarantee="strong", due="2099-01-31", reason="bias")
    again = service.closed(asked_again)[0]
    assert again.case == found[0].case and service.kinds(again.id)[-1] == "answered before"


def test_a_batch_shares_one_run_and_what_is_wrong_with_one_is_told_of_it_alone(service):
    service.folder.edit("[policy]", "[policy]\nbatch_days = 5")
    several = [service.ask(name, guarantee="exact") for name in ("c0", "c1", "c3")]
    wrong = service.ask("nobody")
    service.worker()
    time.sleep(2)
    assert {service.requests.get(one).state for one in several} == {State.RECEIVED}, "they wait for others"
    several.append(service.ask("c4", guarantee="exact"))
    service.requests.note(several[0], "hurried", {}, priority=1)
    found = service.closed(*several)
    assert [one.state for one in found] == [State.DONE] * 4
    assert len({one.batch for one in found}) == 1 and len({one.case for one in found}) == 4
    assert Project.read(service.path).lineage.current == 1
    bad = service.closed(wrong)[0]
    assert bad.state is State.NEEDS_PERSON and "no row of the data has subject 'nobody'" in bad.message
    decisions.refuse(service.requests, wrong, "somebody", "we hold no data of this person")
    assert service.requests.get(wrong).state is State.REFUSED


def test_a_person_approves_chooses_and_cancels(service):
    service.folder.edit("[policy]", '[policy]\napprove = "before-unlearn"')
    first, second = service.ask("c0"), service.ask("c1")
    service.worker()
    service.wait(lambda one: one.state is State.PLANNED, [first, second])
    time.sleep(2)
    assert service.requests.get(first).state is State.PLANNED
    decisions.cancel(service.requests, second, "somebody", "asked for it")
    decisions.approve(service.requests, first, "somebody", method="datamodel-matching")
    done = service.closed(first)[0]
    assert done.state is State.DONE and done.method == "datamodel-matching"
    result = json.loads((service.case(done) / "result.json").read_text())
    assert result["unlearning"]["method"] == done.method and "chosen by the person" in result["plan"]["note"]
    assert service.requests.get(second).state is State.CANCELLED


def test_weights_of_a_version_that_was_replaced_meanwhile_are_not_released(service):
    """Somebody calls 'forget' while a verdict waits for its release: c0's rows would come back with those weights."""
    request = service.ask("c1", guarantee="exact")
    run = judge(service, "first", request)
    assert service.folder("forget", "--subject", "c0", "--method", "retrain", "--json").code == 0
    run.release()
    assert service.kinds(request)[-1] == "to be planned again"
    assert service.requests.get(request).state is State.RECEIVED
    judge(service, "second", request).release()
    assert service.requests.get(request).state is State.DONE
    lineage = Project.read(service.path).lineage
    assert lineage.current == 2 and len(lineage.version.erased) == 80


def test_one_of_a_batch_who_comes_to_no_verdict_has_a_run_of_its_own(service, monkeypatch):
    first, other = service.ask("c0", guarantee="exact"), service.ask("c1", guarantee="exact")
    finish = Stages.finish

    def finish_one(stages):
        if stages.given is not None and stages.request.subjects == ("c1",):
            assert stages.outcomes
            raise NoVerdictError("no option came to a verdict; the last one: no look was spent")
        finish(stages)

    monkeypatch.setattr(Stages, "finish", finish_one)
    judge(service, "together", first, other).release()
    assert service.requests.get(first).state is State.DONE
    again = service.requests.get(other)
    assert again.state is State.RECEIVED and again.alone and again.case is again.batch is None
    assert service.kinds(other)[-1] == "escalated"
    assert Project.read(service.path).lineage.current == 1


def judge(service, batch, *ids):
    """Bring requests to their verdicts, as a worker does, and return the run."""
    run = Run(Project.read(service.path), service.requests, batch)
    service.requests.move(ids, State.PREPARING, "preparing", batch=batch)
    run.prepare()
    service.requests.move(ids, State.UNLEARNING, "unlearning")
    run.unlearn()
    return run
