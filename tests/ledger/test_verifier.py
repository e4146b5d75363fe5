"""The verifier that stands alone: in a bare folder, in a process where Neuralyzer cannot be imported."""

import ast
import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from neuralyzer.certificates.certify import certify, public_key_beside
from neuralyzer.certificates.dsse import sign
from neuralyzer.certificates.ledger_record import LedgerRecord, record_verified, write_later
from neuralyzer.certificates.statement import PAYLOAD_TYPE
from neuralyzer.ledger import countersigning, verifier
from neuralyzer.ledger.events import Event, Facts
from neuralyzer.ledger.log import Ledger
from neuralyzer.workspace import digests
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.signing_keys import public_pem, signing_key
from tests.certificates.example import WEIGHTS, predicate

SHUT = "import runpy, sys; sys.modules['neuralyzer'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
FACTS = Facts(weights=digests.of_bytes(WEIGHTS), verdict="forgotten")


@dataclass(frozen=True)
class Bare:
    """A folder as someone elsewhere gets it, and what its operator keeps."""

    folder: Path
    ledger: Ledger

    def check(self, *words):
        done = subprocess.run(
            [sys.executable, "-I", "-c", SHUT, self.folder / "verify.py", self.folder, *words],
            cwd=self.folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == "" or done.returncode == 2, done.stderr
        return done.returncode, done.stdout

    def path(self, name):
        return self.folder / name

    def edit(self, name, change):
        content = json.loads(self.path(name).read_text())
        change(content)
        self.path(name).write_text(json.dumps(content))

    def resign(self, change):
        """What a dishonest operator can do: change the certificate and sign it anew."""
        content = json.loads(base64.b64decode(json.loads(self.path("certificate.json").read_text())["payload"]))
        change(content["predicate"])
        envelope = sign(json.dumps(content).encode(), PAYLOAD_TYPE, signing_key(self.ledger.workspace))
        self.path("certificate.json").write_text(json.dumps(envelope))


@pytest.fixture
def bare(tmp_path):
    weights, folder = tmp_path / "unlearned.safetensors", tmp_path / "bare"
    weights.write_bytes(WEIGHTS)
    ledger = Ledger.of(Workspace(tmp_path / ".neuralyzer"))
    ledger.begin("case-0", ["Bo Example"])
    for number in range(4):
        ledger.record(Event.PURGED, "case-0", occurrence=number)
    record = record_verified(ledger, "case-1", ["Ada Example"], FACTS)
    path = certify(predicate(ledger=record), weights, ledger.workspace, tmp_path / "certificate.json")
    ledger.record(Event.CERTIFIED, "case-1", Facts(certificate=digests.of_file(path)))
    note, key = ledger.checkpoint(), Ed25519PrivateKey.generate()
    note.write_text(countersigning.countersign(note.read_text(), ledger.public_keys()[0], key, 1_790_000_000, None, []))
    (ledger.workspace.keys / "countersigners.txt").write_text(f"{countersigning.countersigning_key(key)}\n")
    later = write_later(ledger, LedgerRecord(**record.model_dump()), path)
    (folder / "model").mkdir(parents=True)
    shutil.copy(weights, folder / "model" / "weights.safetensors")
    for file in (path, public_key_beside(path), later):
        shutil.copy(file, folder)
    (folder / "ledger.keys").write_text("".join(f"{key}\n" for key in ledger.public_keys()))
    shutil.copy(verifier.__file__, folder / "verify.py")
    return Bare(folder, ledger)


def test_it_imports_nothing_but_cryptography():
    tree = ast.parse(Path(verifier.__file__).read_text())
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                     [node.module or "."] if isinstance(node, ast.ImportFrom) else [])
    }  # fmt: skip
    assert names - set(sys.stdlib_module_names) == {"cryptography"}


def test_a_good_folder(bare):
    code, said = bare.check()
    assert code == 0 and "FAIL" not in said and len(said.splitlines()) == 6
    assert "request case-1: forgotten" in said and "entry 4 of 6" in said and "countersigned by 1 (published" in said
    published = bare.folder.with_name("published")
    published.write_bytes(bare.path("ledger.keys").read_bytes())
    key = bare.ledger.workspace.keys / "signing.pub.pem"
    assert bare.check("--key", key, "--ledger-keys", published)[0] == 0


def test_without_published_keys_or_a_ledger_it_says_so(bare):
    bare.path("ledger.keys").unlink()
    code, said = bare.check()
    assert code == 0 and said.count("keys from the certificate itself") == 2
    bare.resign(lambda told: told.pop("ledger"))
    code, said = bare.check()
    assert code == 0 and "no entry in a ledger" in said


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def other_ledger(bare):
    """The operator makes another ledger in secret, and signs a certificate with its proof."""
    own = Ledger.of(Workspace(bare.folder.parent / "secret"))
    record = record_verified(own, "case-1", ["Ada Example"], FACTS)
    bare.resign(lambda told: told.update(ledger=record.model_dump()))
    bare.path("certificate.ledger.json").unlink()


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda bare: flip(bare.path("model/weights.safetensors")), "FAIL weights: model/weights.safetensors"),
        (lambda bare: bare.path("more.safetensors").write_bytes(b"x"), "FAIL weights: more.safetensors"),
        (lambda bare: bare.edit("certificate.json", lambda told: told.update(payload="x" + told["payload"][1:])), "sig"),
        (lambda bare: bare.path("certificate.json").write_text("{"), "it is no JSON"),
        (lambda bare: bare.path("certificate.json").write_text("[]"), "no object"),
        (lambda bare: bare.edit("certificate.json", lambda told: told.update(signatures=[])), "signature does not fit"),
        (lambda bare: bare.path("certificate.pub.pem").write_bytes(
            public_pem(Ed25519PrivateKey.generate().public_key())), "another key signed it"),
        (lambda bare: bare.path("certificate.pub.pem").write_text("none"), "no PEM"),
        (lambda bare: bare.resign(lambda told: told["protocol"].update(alpha=0.9)), "FAIL protocol"),
        (lambda bare: bare.resign(lambda told: told["weights"].update(unlearned=64 * "0")), "contradicts itself"),
        (lambda bare: bare.resign(lambda told: told.pop("protocol")), "lacks a field"),
        (lambda bare: bare.resign(lambda told: told["ledger"].update(index=3)), "FAIL ledger: the entry is not in"),
        (lambda bare: bare.resign(lambda told: told["ledger"].update(path=[])), "FAIL ledger: the entry is not in"),
        (lambda bare: bare.resign(lambda told: told["ledger"].update(path=["x"])), "FAIL ledger: it is damaged"),
        (lambda bare: bare.resign(lambda told: told["ledger"].update(root=64 * "0")), "another size or root"),
        (lambda bare: bare.resign(lambda told: told["ledger"].update(checkpoint="\n5\n\n")), "FAIL ledger: "),
        (lambda bare: bare.resign(lambda told: told["verification"].update(verdict="untraceable")), "another verdict"),
        (lambda bare: bare.edit("certificate.ledger.json", lambda told: told["path"].reverse()), "FAIL newer proof"),
        (lambda bare: bare.edit("certificate.ledger.json", lambda told: told.update(index=1)), "is of another entry"),
        (lambda bare: bare.edit("certificate.ledger.json", lambda told: told.update(
            checkpoint=told["checkpoint"].replace("\n6\n", "\n7\n"))), "FAIL newer proof"),
        (lambda bare: bare.edit("certificate.ledger.json", lambda told: told.update(
            checkpoint=told["checkpoint"][:-10] + "AAAAAAAA=\n")), "FAIL newer proof"),
        (lambda bare: bare.path("ledger.keys").write_text(""), "FAIL ledger: there is no key"),
        (other_ledger, "FAIL ledger: the checkpoint is not signed by the ledger's key"),
    ],
)  # fmt: skip
def test_a_folder_that_was_changed_fails(bare, change, says):
    change(bare)
    code, said = bare.check()
    assert code == 1 and says in said and "FAIL" in said, said


def test_every_byte_of_the_certificates_payload_counts(bare):
    path = bare.path("certificate.json")
    whole = path.read_bytes()
    for place in range(len(whole) // 20, len(whole) - 20, len(whole) // 12):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert bare.check()[0] == 1, place


@pytest.mark.parametrize("name", ["certificate.json", "certificate.pub.pem", "model/weights.safetensors"])
def test_what_is_missing_exits_2(bare, name):
    bare.path(name).unlink()
    code, said = bare.check()
    assert code == 2 and "MISSING" in said and "ok" not in said.split()


def test_keys_that_cannot_be_read_exit_2(bare):
    assert bare.check("--ledger-keys", bare.path("none"))[0] == bare.check("--key", bare.path("none"))[0] == 2
    assert bare.check("--nothing")[0] == 2
