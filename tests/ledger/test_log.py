"""The ledger as others use it: what is recorded, by whom it is found again, and what is proven of it."""

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import kept_checkpoints, proof, subject_keys, tree
from neuralyzer.ledger.events import Event, Facts, Reason
from neuralyzer.ledger.log import Ledger, Record
from neuralyzer.ledger.subject_keys import Subjects
from tests.ledger.conftest import NAMES, WEIGHTS

EVENTS = ["received", "located", "audited", "planned", "verified"]


def told(entries):
    return [entry.event for entry in entries]


def test_a_case_is_found_again_by_its_subjects_keys_and_by_nobody_elses(kept):
    ledger = kept.ledger
    for case, names in NAMES.items():
        assert told(ledger.entries_of(case)) == EVENTS
        assert ledger.entries_of(case, Subjects.of(kept.workspace, names)) == ledger.entries_of(case)
    assert ledger.entries_of("case-a", Subjects.of(kept.workspace, ["Bo Example"])) == []
    assert ledger.entries_of("case-b", Subjects.of(kept.workspace, NAMES["case-ab"])) == []


def test_a_subject_finds_all_cases_that_name_it(kept):
    assert [entry.position for entry in kept.ledger.entries_about("Ada Example")] == [0, 2, 3, 5, 6, 8, 9, 11, 12, 14]
    assert list(kept.ledger.entries_about("Cy Example")) == []


def test_a_step_that_runs_again_later_gets_the_entry_that_is_there(kept):
    facts, ledger = Facts(due="2026-12-24", reason="complex"), kept.ledger
    first = ledger.record(Event.EXTENDED, "case-a", facts, at="2026-11-24T10:00:00+00:00")
    assert ledger.record(Event.EXTENDED, "case-a", facts, at="2026-11-25T11:00:00+00:00") == first == len(ledger) - 1
    assert ledger.entries_of("case-a")[-1].at == "2026-11-24T10:00:00+00:00"
    assert ledger.record(Event.EXTENDED, "case-a", facts, occurrence=1) == first + 1
    with pytest.raises(LedgerError, match="an entry never changes"):
        ledger.record(Event.EXTENDED, "case-a", Facts(due="2027-01-24", reason="complex"))
    assert len(ledger) == first + 2


def test_steps_that_run_at_the_same_time_leave_one_entry(kept):
    def record(hour):
        facts = Facts(weights=WEIGHTS, certificate=64 * "c")
        return kept.ledger.record(Event.CERTIFIED, "case-a", facts, at=f"2026-11-24T{hour:02}:00:00+00:00")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(record, range(12))) == {15}
    assert len(kept.ledger) == 16


def test_many_occurrences_of_an_event_are_all_found(ledger):
    subjects = ledger.begin("case-a", ())
    ledger.record_many([Record(Event.PURGED, "case-a", subjects, occurrence=number) for number in range(30)])
    assert told(ledger.entries_of("case-a")) == EVENTS + 30 * ["purged"]


def test_nothing_of_an_entry_names_anyone_and_no_commitment_comes_twice(ledger):
    ledger.record(Event.REFUSED, "case-b", Facts(reason=Reason.EXCESSIVE, by="Dr. Data", result=64 * "e"))
    seen = Counter[str]()
    for _, content in ledger.store.entries():
        text = content.decode()
        assert not re.search(r"Ada|Bo|Data|case-|" + 64 * "e", text)
        tag, _, body = text.partition("\n")
        seen.update([tag, *json.loads(body)["subjects"]])
        assert set(json.loads(body)) == {"at", "event", "facts", "subjects"}
    assert set(seen.values()) == {1} and len(seen) == 16 + 15 + 6  # tags; a mark for each subject, two in five entries


def test_erasing_a_key_unlinks_its_subject_and_leaves_every_proof(ledger):
    proofs = [ledger.proof(position) for position in range(len(ledger))]
    before = list(ledger.store.entries())
    assert subject_keys.erase(ledger.workspace, ["Ada Example", "Cy Example"]) == 1
    assert subject_keys.erase(ledger.workspace, ["Ada Example"]) == 0
    assert list(ledger.entries_about("Ada Example")) == []
    for case in ("case-a", "case-ab"):
        with pytest.raises(LedgerError, match="was erased; its entries stay unlinked"):
            ledger.entries_of(case)
        with pytest.raises(LedgerError, match="was erased"):
            ledger.record(Event.RELEASED, case)
    again = Subjects.of(ledger.workspace, ["Ada Example"])  # the same name has another key from now on
    assert ledger.entries_of("case-a", again) == [] and list(ledger.entries_about("Ada Example")) == []
    assert [entry.position for entry in ledger.entries_about("Bo Example")] == [1, 2, 4, 5, 7, 8, 10, 11, 13, 14]
    assert list(ledger.store.entries()) == before and ledger.check() == []
    assert [proof.verify(one).event for one in proofs] == [event for event in EVENTS for _ in NAMES]


def test_a_case_that_never_began_is_not_recorded(ledger):
    with pytest.raises(LedgerError, match="does not know the case case-x"):
        ledger.record(Event.RECEIVED, "case-x")


@pytest.mark.parametrize("position", [0, 7, 14])
def test_a_proof_holds_elsewhere_and_no_part_of_it_can_be_changed(kept, position):
    one = kept.ledger.proof(position)
    assert proof.verify(proof.Proof(**json.loads(json.dumps(one.to_dict())))).countersigned == []
    other = kept.ledger.proof(position - 1 if position else 1)
    kept.ledger.record(Event.CANCELLED, "case-a", Facts(reason="withdrawn"))
    later = kept.ledger.proof(position)
    for changed, says in (
        ({"entry": one.entry.replace("2", "3")}, "it was changed"),
        ({"entry": other.entry}, "it was changed"),
        ({"index": other.index}, "it was changed"),
        ({"path": one.path[:-1]}, "it was changed"),
        ({"path": ["x", *one.path[1:]]}, "damaged"),
        ({"path": [one.path[-1], *one.path[1:]]}, "it was changed"),
        ({"size": one.size + 1}, "another size or root"),
        ({"root": later.root}, "another size or root"),
        ({"checkpoint": later.checkpoint}, "another size or root"),
        ({"checkpoint": one.checkpoint.replace("\n15\n", "\n16\n")}, "does not fit"),
        ({"keys": []}, "names no key"),
    ):
        with pytest.raises(LedgerError, match=says):
            proof.verify(replace(one, **changed))


def test_a_proof_of_another_ledger_does_not_pass(ledger, tmp_path):
    forged = Ledger.of(replace(ledger.workspace, root=tmp_path / "other"), f"sqlite:///{tmp_path / 'forged.sqlite'}")
    forged.begin("case-a", ["Ada Example"])
    one = forged.proof(forged.record(Event.VERIFIED, "case-a", Facts(verdict="forgotten")))
    assert proof.verify(one).event == "verified"
    with pytest.raises(LedgerError, match="not signed by the key of the ledger"):
        proof.verify(one, ledger.public_keys())


def test_a_checkpoint_is_kept_and_the_next_one_continues_it(ledger):
    first = ledger.checkpoint()
    assert ledger.checkpoint() == first and first.read_text().splitlines()[1] == "15"
    ledger.record(Event.CANCELLED, "case-a")
    second = ledger.checkpoint()
    assert kept_checkpoints.kept(ledger.workspace) == [first, second]
    earlier, later = (kept_checkpoints.read(path, ledger.public_keys()) for path in (first, second))
    path = ledger.consistency(earlier, later)
    assert tree.is_consistent(15, earlier.root, 16, later.root, path)
    assert not tree.is_consistent(15, later.root, 16, later.root, path)


def test_a_ledger_that_was_rewritten_signs_no_checkpoint_and_fails_its_check(ledger, tmp_path):
    elsewhere = tmp_path / "sent.checkpoint"
    elsewhere.write_bytes(ledger.checkpoint().read_bytes())
    forged = Ledger.of(ledger.workspace, f"sqlite:///{tmp_path / 'forged.sqlite'}")
    for event in (Event.RECEIVED, Event.REFUSED):
        for case in NAMES:
            forged.record(event, case)
    with pytest.raises(LedgerError, match="nothing is signed"):
        forged.checkpoint()
    assert [str(fault) for fault in forged.check()] == [
        "entries 6 to 14: one of them is missing: a checkpoint counts 15 entries"
    ]
    for path in kept_checkpoints.kept(ledger.workspace):
        path.unlink()
    assert forged.check() == [] and len(forged.check([elsewhere])) == 1


def test_a_checkpoint_of_another_ledger_is_refused(ledger, tmp_path):
    other = Ledger.of(replace(ledger.workspace, root=tmp_path / "other"))
    with pytest.raises(LedgerError, match="is not signed by the key of this ledger"):
        ledger.check([other.checkpoint()])
