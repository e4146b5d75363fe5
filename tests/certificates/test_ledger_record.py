"""A certificate that proves its entry in the ledger: what is checked, and what is said of who vouches for it."""

import base64
import json
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from neuralyzer.certificates.certify import certify
from neuralyzer.certificates.check import check
from neuralyzer.certificates.dsse import sign
from neuralyzer.certificates.ledger_record import proof_beside, record_verified, write_later
from neuralyzer.certificates.statement import PAYLOAD_TYPE, Predicate
from neuralyzer.errors import LedgerError
from neuralyzer.ledger import countersigning, subject_keys
from neuralyzer.ledger.events import Event, Facts
from neuralyzer.ledger.log import Ledger
from neuralyzer.workspace import digests
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.signing_keys import signing_key
from tests.certificates.example import WEIGHTS, predicate

NAMES = ["Ada Example"]
VERDICT = Facts(weights=digests.of_bytes(WEIGHTS), verdict="forgotten", method="influence")


@dataclass(frozen=True)
class Entered:
    path: object
    weights: object
    ledger: Ledger
    predicate: Predicate

    @property
    def keys(self):
        path = self.path.with_name("published.keys")
        path.write_text("".join(f"{key}\n" for key in self.ledger.public_keys()))
        return path

    def countersign(self, key):
        """As another person does, whose key the operator has listed."""
        note, own = self.ledger.checkpoint(), self.ledger.public_keys()[0]
        note.write_text(countersigning.countersign(note.read_text(), own, key, 1_790_000_000, None, []))
        with (self.ledger.workspace.keys / "countersigners.txt").open("a") as file:
            file.write(f"{countersigning.countersigning_key(key)}\n")

    def resign(self, change):
        content = json.loads(base64.b64decode(json.loads(self.path.read_text())["payload"]))
        change(content["predicate"])
        envelope = sign(json.dumps(content).encode(), PAYLOAD_TYPE, signing_key(self.ledger.workspace))
        self.path.write_text(json.dumps(envelope))


@pytest.fixture
def entered(tmp_path):
    weights = tmp_path / "unlearned.safetensors"
    weights.write_bytes(WEIGHTS)
    ledger = Ledger.of(Workspace(tmp_path / ".neuralyzer"))
    ledger.begin("case-0", ["Bo Example"])
    ledger.record(Event.RECEIVED, "case-0")
    filled = predicate(ledger=record_verified(ledger, "case-1", NAMES, VERDICT))
    path = certify(filled, weights, ledger.workspace, tmp_path / "certificate.json")
    return Entered(path, weights, ledger, filled)


def test_a_certificate_proves_its_entry(entered):
    found = check(entered.path, entered.weights)
    assert found.ok and (found.ledger.index, found.ledger.size, found.ledger.countersigned) == (1, 2, [])
    assert found.ledger.ledger == entered.ledger.public_keys()[0].name
    assert any("taken from the certificate" in limit for limit in found.limits)
    assert any("Nobody countersigned" in limit for limit in found.limits)
    published = check(entered.path, entered.weights, ledger_keys=entered.keys)
    assert published.ok and not any("taken from the certificate" in limit for limit in published.limits)
    json.dumps(found.to_dict())


def test_the_entry_is_made_once_and_before_the_certificate(entered):
    again = record_verified(entered.ledger, "case-1", NAMES, VERDICT)
    assert again == entered.predicate.ledger and len(entered.ledger) == 2
    with pytest.raises(LedgerError, match="an entry never changes"):
        record_verified(entered.ledger, "case-1", NAMES, Facts(weights=VERDICT.weights, verdict="not forgotten"))


def test_erasing_the_subjects_key_leaves_the_certificate_valid(entered):
    subject_keys.erase(entered.ledger.workspace, NAMES)
    assert check(entered.path, entered.weights, ledger_keys=entered.keys).ok


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda told: told["ledger"].update(index=0), "is not in the ledger"),
        (lambda told: told["ledger"].update(entry=told["ledger"]["entry"].replace("influence", "finetune")), "not in"),
        (lambda told: told["ledger"].update(path=[64 * "0"]), "is not in the ledger"),
        (lambda told: told["ledger"].update(root=64 * "0"), "another size or root"),
        (lambda told: told["ledger"].update(size=3), "another size or root"),
        (lambda told: told["ledger"].update(checkpoint=told["ledger"]["checkpoint"].replace("\n2\n", "\n3\n")), "fit"),
        (lambda told: told["ledger"].update(checkpoint="none"), "no signed note"),
        (lambda told: told["verification"].update(verdict="untraceable"), "another verdict or other weights"),
    ],
)
def test_a_changed_proof_fails_even_where_the_operator_signs_it(entered, change, says):
    entered.resign(change)
    found = check(entered.path, entered.weights)
    assert not found.ok and found.ledger is None and any(says in failure for failure in found.failures)


def test_the_ledger_of_someone_else_fails_against_published_keys(entered, tmp_path):
    own = Ledger.of(Workspace(tmp_path / "secret"))
    record = record_verified(own, "case-1", NAMES, VERDICT)
    entered.resign(lambda told: told.update(ledger=record.model_dump()))
    assert check(entered.path).ok
    found = check(entered.path, ledger_keys=entered.keys)
    assert not found.ok and "not signed by the key of the ledger" in found.failures[0]


def test_a_file_of_keys_without_a_key_is_not_passed_over(entered, tmp_path):
    empty = tmp_path / "empty.keys"
    empty.write_text("\n")
    with pytest.raises(LedgerError, match="holds no key"):
        check(entered.path, ledger_keys=empty)


def test_without_a_proof_it_stays_valid_unless_one_is_asked_for(entered):
    entered.resign(lambda told: told.pop("ledger"))
    assert check(entered.path).ok and check(entered.path).ledger is None
    assert "no proof that the verdict is in a ledger" in check(entered.path, ledger_keys=entered.keys).failures[0]


def test_a_later_proof_counts_who_countersigned(entered):
    for hour in range(3):
        entered.ledger.record(Event.CANCELLED, "case-0", occurrence=hour)
    second, third = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    entered.countersign(second)
    entered.countersign(third)
    entered.ledger.record(Event.FAILED, "case-0")
    entered.ledger.checkpoint()  # the newest, which nobody has countersigned
    write_later(entered.ledger, entered.predicate.ledger, entered.path)
    found = check(entered.path, entered.weights, ledger_keys=entered.keys)
    assert found.ok and (found.ledger.index, found.ledger.size) == (1, 5)
    assert [one.time for one in found.ledger.countersigned] == [1_790_000_000, 1_790_000_000]
    assert "countersigned by 2" in str(found.ledger)


def test_the_ledgers_own_key_and_a_key_that_signs_twice_count_once(entered):
    own, key = signing_key(entered.ledger.workspace, "ledger"), Ed25519PrivateKey.generate()
    with pytest.raises(LedgerError, match="another person's key is needed"):
        entered.countersign(own)
    entered.countersign(key)
    entered.countersign(key)
    write_later(entered.ledger, entered.predicate.ledger, entered.path)
    assert len(check(entered.path).ledger.countersigned) == 1


def test_a_later_proof_of_another_entry_fails(entered):
    proof_beside(entered.path).write_text(json.dumps(entered.ledger.proof(0).to_dict()))
    assert "is about another entry" in check(entered.path).failures[0]
    proof_beside(entered.path).write_text("{}")
    assert "is no proof of ours" in check(entered.path).failures[0]
    proof_beside(entered.path).write_text("{")
    assert "not readable JSON" in check(entered.path).failures[0]
