"""``neuralyzer certificate verify``: what it checks, its exit codes, and that it always tells the limits."""

import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from neuralyzer.project.project import Project
from neuralyzer.workspace import digests
from neuralyzer.workspace.signing_keys import public_pem
from tests.cli.project import truncate

LIMIT = "assumes an honest operator"


@pytest.fixture
def certified(answered, tmp_path):
    """Copies of a certificate, its key and its weights, as someone elsewhere gets them."""
    (case,) = answered.cases
    for path in (case / "certificate.json", case / "certificate.pub.pem", *case.glob("attempts/*/weights.safetensors")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_certificate_is_checked(answered, certified):
    words = ("certificate", "verify", certified / "certificate.json")
    answer = answered(*words, "--weights", certified / "weights.safetensors", "--json")
    assert answer.code == 0
    assert set(answer.json) == {"ok", "failures", "limits", "predicate", "keyid", "ledger"}
    assert answer.json["ok"] and answer.json["failures"] == []
    assert any(LIMIT in limit for limit in answer.json["limits"])
    predicate = answer.json["predicate"]
    assert predicate["verification"]["verdict"] == "forgotten" and predicate["request"]["rows"] == 40
    assert predicate["weights"]["unlearned"] == digests.of_file(certified / "weights.safetensors")
    assert predicate["request"]["commitment"].startswith("hmac-sha256:") and predicate["request"]["subjects"] is None
    opened = Project.read(answered.path("neuralyzer.toml"))
    left = opened.data.select(opened.data.subjects != "c0")
    bound = {"recipe": opened.recipe.digest, "retained": left.digest, "holdout": opened.holdout.digest}
    assert predicate["training"] == bound
    key = answered.path(".neuralyzer/keys/signing.pub.pem")
    assert answered(*words, "--key", key).code == 0
    read = answered(*words)
    assert read.code == 0 and LIMIT in " ".join(read.out.split()) and "signature fits" in read.out


def tampered(certified):
    envelope = json.loads((certified / "certificate.json").read_text())
    envelope["payload"] = "x" + envelope["payload"][1:]
    (certified / "certificate.json").write_text(json.dumps(envelope))


def another_key(certified):
    (certified / "certificate.pub.pem").write_bytes(public_pem(Ed25519PrivateKey.generate().public_key()))


def other_weights(certified):
    content = bytearray((certified / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (certified / "weights.safetensors").write_bytes(content)


def not_an_envelope(certified):
    (certified / "certificate.json").write_text("[]")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (tampered, "signature does not fit"),
        (another_key, "signature does not fit"),
        (other_weights, "is not the file certified"),
        (lambda certified: (certified / "certificate.pub.pem").unlink(), "no public key"),
        (not_an_envelope, "no DSSE envelope"),
    ],
)
def test_a_certificate_that_fails_exits_1_and_tells_its_limits_all_the_same(answered, certified, change, says):
    change(certified)
    words = ("certificate", "verify", certified / "certificate.json", "--weights", certified / "weights.safetensors")
    answer = answered(*words)
    assert answer.code == 1 and answer.err == ""
    said = " ".join(answer.out.split())
    assert "FAILS" in said and says in said and LIMIT in said
    as_json = answered(*words, "--json")
    assert as_json.code == 1 and not as_json.json["ok"] and any(LIMIT in limit for limit in as_json.json["limits"])


def test_a_certificate_that_cannot_be_read(answered, certified):
    words = ("certificate", "verify", certified / "certificate.json")
    assert "none.safetensors" in answered(*words, "--weights", certified / "none.safetensors").complaint
    assert "no public key in PEM" in answered(*words, "--key", certified / "weights.safetensors").complaint
    truncate(certified / "certificate.json")
    assert "truncated" in answered(*words, "--json").complaint
    os.unlink(certified / "certificate.json")
    assert "does not exist" in answered(*words).complaint
