import hashlib
import hmac
from collections import Counter

import pytest

from neuralyzer.errors import LedgerError, UsageError
from neuralyzer.ledger import kept_checkpoints, spot_checks, subject_keys
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.events import Event, Facts
from neuralyzer.ledger.log import Record

KEY = bytes(range(32))


@pytest.fixture
def audited(ledger):
    """A ledger with 40 more verdicts, and its checkpoint; some entries come later."""
    subjects = ledger.begin("case-many", ["Cy Example"])
    ledger.record_many([
        Record(Event.VERIFIED, "case-many", subjects, Facts(verdict="forgotten"), number) for number in range(40)
    ])  # fmt: skip
    known = kept_checkpoints.read(ledger.checkpoint(), ledger.public_keys())
    ledger.record_many([Record(Event.VERIFIED, "case-many", subjects, occurrence=number) for number in range(40, 50)])
    return ledger, known


def test_the_first_by_their_hmac_are_chosen(audited):
    ledger, known = audited
    chosen, among = spot_checks.choose(ledger, known, KEY, 5)
    assert among == 43 and len(chosen) == 5
    verdicts = [content.decode() for _, content in ledger.store.entries(0, known.size) if b'"verified"' in content]
    tags = [text.partition("\n")[0] for text in verdicts]
    by = {hmac.new(KEY, f"{known.text}\n{tag}".encode(), hashlib.sha256).digest(): tag for tag in tags}
    assert [one.entry.tag for one in chosen] == [by[digest] for digest in sorted(by)[:5]]
    assert spot_checks.choose(ledger, known, KEY, 5)[0] == chosen


def test_another_key_and_another_checkpoint_choose_others(audited):
    ledger, known = audited
    own = {one.entry.tag for one in spot_checks.choose(ledger, known, KEY, 10)[0]}
    other_key = {one.entry.tag for one in spot_checks.choose(ledger, known, bytes(32), 10)[0]}
    elsewhere = Checkpoint(known.origin, known.size, bytes(32))
    assert own != other_key and own != {one.entry.tag for one in spot_checks.choose(ledger, elsewhere, KEY, 10)[0]}


def test_each_verdict_is_chosen_as_often(audited):
    ledger, known = audited
    tags = [entry.tag for entry in ledger.entries_of("case-many") if entry.position < known.size]
    first = Counter(min(tags, key=lambda tag: spot_checks.order(bytes([n]) * 32, known, tag)) for n in range(200))
    assert max(first.values()) < 20  # 5 are expected of each of 40; 20 is beyond six standard deviations


def test_a_chosen_verdict_leads_to_its_case_as_long_as_there_is_a_key(audited):
    ledger, known = audited
    everything, among = spot_checks.choose(ledger, known, KEY, 1000)
    assert len(everything) == among == 43
    assert Counter(one.case for one in everything) == {"case-many": 40, "case-a": 1, "case-b": 1, "case-ab": 1}
    subject_keys.erase(ledger.workspace, ["Ada Example"])
    again, _ = spot_checks.choose(ledger, known, KEY, 1000)
    assert Counter(one.case for one in again) == {"case-many": 40, "case-b": 1, None: 2}
    assert [one.entry for one in again] == [one.entry for one in everything]


def test_what_cannot_be_chosen(audited, tmp_path):
    ledger, known = audited
    with pytest.raises(UsageError, match="choose 1 or more"):
        spot_checks.choose(ledger, known, KEY, 0)
    with pytest.raises(LedgerError, match="fewer than the 1,000 entries"):
        spot_checks.choose(ledger, Checkpoint(known.origin, 1000, known.root), KEY, 1)
    with pytest.raises(UsageError, match="cannot read"):
        spot_checks.read_key(tmp_path / "none")


def test_a_commitment_binds_the_key():
    assert spot_checks.commitment(KEY) == hashlib.sha256(b"neuralyzer spot check\n" + KEY).hexdigest()
    assert spot_checks.commitment(KEY) != spot_checks.commitment(bytes(32))
