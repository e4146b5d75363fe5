"""OpenDSR 2.0 as a consent platform uses it: its own field names, signatures that OpenSSL checks, nothing done twice."""

import base64
import json
import subprocess
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from neuralyzer.errors import CertificateError
from neuralyzer.service import opendsr
from neuralyzer.service.signatures import Signer
from neuralyzer.service.states import State
from tests.service.http import world_of

HOST = '\n[service]\ndomain = "nz.example.com"\ncallback_hosts = ["consent.example.com"]\n'
ID = "a7551968-d5d6-44b2-9831-815ac9017798"


def asked(**more):
    return {
        "regulation": "gdpr", "subject_request_id": ID, "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z", "api_version": "2.0",
        "subject_identities": [
            {"identity_type": "email", "identity_value": "johndoe@example.com", "identity_format": "raw"},
            {"identity_type": "controller_customer_id", "identity_value": "c17", "identity_format": "raw"},
            {"identity_type": "android_id", "identity_value": "abc", "identity_format": "raw"},
        ],
        "status_callback_urls": ["https://consent.example.com/opendsr/callbacks"],
        "extensions": {"other-processor.com": {"id": 1}},
    } | more  # fmt: skip


@pytest.fixture
def platform(tmp_path, database_url):
    made = world_of(tmp_path, HOST, database_url)
    yield made
    made.service.requests.database.close()


@pytest.fixture
def local(tmp_path):
    made = world_of(tmp_path, HOST)
    yield made
    made.service.requests.database.close()


def verified(world, answer):
    """The body, if the signature in the header is right by the certificate that discovery names."""
    where = world.client(None).get("/opendsr/discovery").json()["processor_certificate"]
    assert where == "https://nz.example.com/opendsr/certificate.pem"
    pem = world.client(None).get("/opendsr/certificate.pem").content
    key = x509.load_pem_x509_certificate(pem).public_key()
    assert answer.headers["X-OpenDSR-Processor-Domain"] == "nz.example.com"
    key.verify(base64.b64decode(answer.headers["X-OpenDSR-Signature"]), answer.content, PKCS1v15(), SHA256())
    return answer.json()


def test_discovery_needs_no_token_and_says_what_is_supported(local):
    found = verified(local, local.client(None).get("/opendsr/discovery"))
    assert found["api_version"] == "2.0" and found["supported_subject_request_types"] == ["erasure"]
    assert {"identity_type": "email", "identity_format": "raw"} in found["supported_identities"]


def test_several_identities_make_one_request(platform):
    answer = platform.client().post("/opendsr/requests", json=asked())
    assert answer.status_code == 201
    content = verified(platform, answer)
    assert json.loads(base64.b64decode(content["encoded_request"])) == asked()
    assert content["subject_request_id"] == ID and content["controller_id"] == platform.token("request")
    assert content["expected_completion_time"] > content["received_time"]
    (kept,) = platform.service.requests.find()
    assert kept.erasure.subjects == ("c17", "johndoe@example.com")  # an android_id names nobody in these data
    assert "johndoe" not in json.dumps(kept.external)


def test_a_replayed_request_is_still_one(platform):
    first = platform.client().post("/opendsr/requests", json=asked())
    for scope in ("request", "admin"):
        again = platform.client(scope).post("/opendsr/requests", json=asked())
        assert again.status_code == 201 and again.json()["received_time"] == first.json()["received_time"]
    assert len(platform.service.requests.find()) == 1
    other = asked(subject_identities=[{"identity_type": "email", "identity_value": "x", "identity_format": "raw"}])
    for scope in ("request", "admin"):
        assert platform.client(scope).post("/opendsr/requests", json=other).status_code == 400
    assert len(platform.service.requests.find()) == 1


@pytest.mark.parametrize(
    ("moves", "status"),
    [
        ([], "pending"),
        ([State.PREPARING], "in_progress"),
        ([State.NEEDS_PERSON], "in_progress"),
        ([State.PREPARING, State.PLANNED, State.UNLEARNING, State.JUDGED, State.DONE], "completed"),
        ([State.REFUSED], "cancelled"),
        ([State.CANCELLED], "cancelled"),
    ],
    ids=str,
)
def test_its_status_is_told_in_the_specifications_words(local, moves, status):
    local.client().post("/opendsr/requests", json=asked())
    (kept,) = local.service.requests.find()
    for state in moves:
        local.service.requests.move([kept.id], state, "moved")
    content = verified(local, local.client("read").get(f"/opendsr/requests/{ID}"))
    assert content["request_status"] == status and content["subject_request_id"] == ID
    assert content["extensions"]["nz.example.com"]["state"] == (moves or [State.RECEIVED])[-1]
    assert "johndoe" not in json.dumps(content)


def test_a_pending_request_is_cancelled_and_no_other(platform):
    platform.client().post("/opendsr/requests", json=asked())
    answer = platform.client().delete(f"/opendsr/requests/{ID}")
    assert answer.status_code == 202 and verified(platform, answer)["subject_request_id"] == ID
    status = platform.client().get(f"/opendsr/requests/{ID}").json()["request_status"]
    assert status == "cancelled" and platform.client().delete(f"/opendsr/requests/{ID}").status_code == 400
    other = str(uuid.uuid4())
    platform.client().post("/opendsr/requests", json=asked(subject_request_id=other))
    kept = next(one for one in platform.service.requests.find() if one.state is State.RECEIVED)
    platform.service.requests.move([kept.id], State.PREPARING, "preparing")
    assert platform.client().delete(f"/opendsr/requests/{other}").status_code == 400


@pytest.mark.parametrize(
    "more",
    [
        {"subject_request_id": "not-a-uuid"}, {"subject_request_id": ID.upper()}, {"subject_request_type": "access"},
        {"subject_request_id": "a7551968-d5d6-14b2-9831-815ac9017798"}, {"submitted_time": "yesterday"},
        {"submitted_time": "2026-10-02T15:00:00"}, {"regulation": "lgpd"}, {"api_version": "1.0"},
        {"subject_identities": []}, {"subject_identities": None},
        {"subject_identities": [{"identity_type": "android_id", "identity_value": "x", "identity_format": "raw"}]},
        {"subject_identities": [{"identity_type": "email", "identity_value": "x", "identity_format": "sha256"}]},
        {"subject_identities": [{"identity_type": "email", "identity_value": "a\nb", "identity_format": "raw"}]},
        {"status_callback_urls": ["http://consent.example.com/x"]},
        {"status_callback_urls": ["https://evil.example.com/x"]},
        {"status_callback_urls": ["https://consent.example.com@evil.example.com/x"]},
        {"status_callback_urls": ["https://consent.example.com:8443/x"]},
        {"status_callback_urls": ["https://127.0.0.1/x"]}, {"status_callback_urls": ["file:///etc/passwd"]},
        {"status_callback_urls": ["https://consent.example.com/x"] * 11},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_taken_is_a_400_in_the_specifications_form(local, more):
    answer = local.client().post("/opendsr/requests", json=asked(**more))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == 400 and answer.json()["error"]["message"]
    assert "johndoe" not in answer.text and local.service.requests.find() == []


def test_an_unknown_request_is_404_and_tokens_are_checked(local):
    assert local.client().get(f"/opendsr/requests/{uuid.uuid4()}").status_code == 404
    assert local.client().get("/opendsr/requests/..%2f..").status_code in (400, 404)
    assert local.client(None).get(f"/opendsr/requests/{ID}").status_code == 401
    assert local.client("read").post("/opendsr/requests", json=asked()).status_code == 403
    assert local.client("read").delete(f"/opendsr/requests/{ID}").status_code == 403


def test_openssl_checks_a_signature(local, tmp_path):
    answer = local.client().post("/opendsr/requests", json=asked())
    (tmp_path / "body").write_bytes(answer.content)
    (tmp_path / "signature").write_bytes(base64.b64decode(answer.headers["X-OpenDSR-Signature"]))
    (tmp_path / "crt.pem").write_bytes(local.client(None).get("/opendsr/certificate.pem").content)

    def openssl(*words):
        return subprocess.run(["openssl", *words], check=False, cwd=tmp_path, capture_output=True, text=True)

    (tmp_path / "public.pem").write_text(openssl("x509", "-in", "crt.pem", "-pubkey", "-noout").stdout)
    words = ("dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "body")
    assert openssl(*words).stdout == "Verified OK\n"
    (tmp_path / "body").write_bytes(answer.content.replace(b"2.0", b"2.1"))
    assert openssl(*words).returncode == 1


def test_a_certificate_of_another_key_is_refused(local, tmp_path):
    place = local.service.project.workspace
    Signer(place, "one.example.com")
    assert (place.keys / "opendsr.pem").stat().st_mode & 0o077 == 0
    (place.keys / "opendsr.pem").unlink()
    with pytest.raises(CertificateError, match="not the certificate of"):
        Signer(place, "one.example.com")


def test_a_callback_has_the_specifications_fields_and_is_signed(local, monkeypatch):
    local.client().post("/opendsr/requests", json=asked())
    (kept,) = local.service.requests.find()
    sent = []
    monkeypatch.setattr(opendsr, "send", lambda *arguments: sent.append(arguments))
    opendsr.notify(kept, local.service.settings, local.service.project.workspace)
    ((url, body, headers, hosts),) = sent
    content = json.loads(body)
    assert url == content["status_callback_url"] == "https://consent.example.com/opendsr/callbacks"
    assert {"controller_id", "expected_completion_time", "subject_request_id", "request_status"} <= set(content)
    assert hosts == ("consent.example.com",) and b"johndoe" not in body
    key = x509.load_pem_x509_certificate(local.client(None).get("/opendsr/certificate.pem").content).public_key()
    key.verify(base64.b64decode(headers["X-OpenDSR-Signature"]), body, PKCS1v15(), SHA256())


def test_a_request_of_nobody_else_has_no_callback(local, monkeypatch):
    monkeypatch.setattr(opendsr, "send", lambda *_: pytest.fail("it was sent"))
    made = local.client().post("/v1/requests", json={"subjects": ["a"]}).json()
    kept = local.service.requests.get(made["id"])
    assert opendsr.notify(kept, local.service.settings, local.service.project.workspace) == []
