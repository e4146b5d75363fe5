import base64
import json
import stat

import pytest

from neuralyzer.certificates.certify import certify, public_key_beside
from neuralyzer.certificates.dsse import verify
from neuralyzer.errors import CertificateError, UnreadableError
from neuralyzer.workspace.signing_keys import read_public_key
from tests.certificates.example import predicate


def test_envelope_and_key_lie_side_by_side(certified):
    envelope = json.loads(certified.path.read_text())
    assert set(envelope) == {"payloadType", "payload", "signatures"}
    beside = public_key_beside(certified.path)
    assert beside.name == "certificate.pub.pem"
    assert beside.read_bytes() == (certified.workspace.keys / "signing.pub.pem").read_bytes()
    payload = verify(envelope, [read_public_key(beside)])
    assert json.loads(payload)["predicate"] == predicate().model_dump(mode="json")
    assert json.loads(payload)["subject"][0]["name"] == "unlearned.safetensors"
    assert stat.S_IMODE((certified.workspace.keys / "signing.pem").stat().st_mode) == 0o600


def test_no_name_stands_in_it(certified):
    envelope = json.loads(certified.path.read_text())
    assert b"AIFinn" not in base64.b64decode(envelope["payload"])
    assert json.loads(base64.b64decode(envelope["payload"]))["predicate"]["request"]["subjects"] is None


def test_weights_that_are_others_are_not_certified(certified, tmp_path):
    certified.weights.write_bytes(b"others")
    with pytest.raises(CertificateError, match="changed after unlearning"):
        certify(predicate(), certified.weights, certified.workspace, tmp_path / "new" / "certificate.json")
    with pytest.raises(UnreadableError):
        certify(predicate(), tmp_path / "none", certified.workspace, tmp_path / "new" / "certificate.json")
    assert not (tmp_path / "new").exists()
