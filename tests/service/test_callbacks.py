"""Callbacks: to allowed hosts at public addresses, once resolved, never redirected, tried again where that helps."""

import datetime as dt
import http.server
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from neuralyzer.errors import UsageError
from neuralyzer.service.callbacks import is_public, require, send

HOST = "consent.example.com"
URL = f"https://{HOST}/callbacks?id=1"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
     "224.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:a00:1::1", "2002:7f00:1::"],
)  # fmt: skip
def test_private_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [f"http://{HOST}/", f"https://{HOST}:444/", f"https://user@{HOST}/", f"https://{HOST}/#x", "https://other.example.com/",
     f"https://{HOST}.evil.com/", f"https://evil.com/{HOST}", "https://127.0.0.1/", "https://[::1]/", "ftp://x/", "", "https://",
     f"https://{HOST}\\@evil.com/", f"https://{HOST}/\n", f"https://{HOST}/é", f"https://{HOST}/" + "x" * 2000,
     "https://localhost/", "javascript:alert(1)", f"https://evil.com\\.{HOST}/"],
)  # fmt: skip
def test_urls_to_elsewhere_are_refused(url):
    with pytest.raises(UsageError):
        require(url, (HOST,))


def test_nothing_is_allowed_by_default():
    with pytest.raises(UsageError, match="callback_hosts"):
        require(URL, ())
    assert require(URL.replace("consent", "CONSENT"), (HOST,)).host == HOST


class Receiver:
    """An HTTPS server on loopback whose certificate is for a host's name."""

    def __init__(self, folder, name=HOST):
        self.answers, self.got = [200], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.send_response(answer)
                self.send_header("Location", f"https://{HOST}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        pem = folder / "server.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.trust = ssl.create_default_context(cadata=made.public_bytes(Encoding.PEM).decode())
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def send(self, **more):
        """Send there as if the name led there, and loopback were the internet."""
        ours = {"resolve": lambda *_: ["127.0.0.1"], "public": lambda _: True, "port": self.port, "trust": self.trust}
        return send(URL, b'{"a": 1}', {"X-OpenDSR-Signature": "s"}, (HOST,), waits=(0, 0), **ours | more)


@pytest.fixture
def receiver(tmp_path):
    made = Receiver(tmp_path)
    yield made
    made.close()


def test_it_arrives_at_the_checked_address_under_the_hosts_name(receiver):
    sent = receiver.send()
    assert (sent.host, sent.status, sent.tries, sent.problem) == (HOST, 200, 1, None)
    ((path, headers, body),) = receiver.got
    assert path == "/callbacks?id=1" and body == b'{"a": 1}'
    assert (
        headers["Host"] == HOST
        and headers["X-OpenDSR-Signature"] == "s"
        and headers["Content-Type"] == "application/json"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(receiver, status):
    receiver.answers = [status]
    sent = receiver.send()
    assert sent.status == status and "redirected" in sent.problem and len(receiver.got) == 1


def test_it_is_tried_again_where_that_may_help(receiver):
    receiver.answers = [503, 429, 200]
    assert receiver.send().tries == 3
    receiver.answers = [500]
    failed = receiver.send()
    assert (failed.tries, failed.status) == (3, 500) and failed.problem == "the answer was 500"
    receiver.answers = [403]
    assert receiver.send().tries == 1


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], [], ["::ffff:169.254.169.254"]], ids=str)
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(receiver, addresses):
    sent = receiver.send(resolve=lambda *_: addresses, public=is_public)
    assert sent.status is None and "not public" in sent.problem and receiver.got == []


def test_a_name_is_resolved_once_a_try(receiver):
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])  # the second answer would lead elsewhere
    assert receiver.send(resolve=lambda *_: next(answers)).problem is None


def test_a_certificate_for_another_name_is_not_trusted(tmp_path):
    other = Receiver(tmp_path, "evil.example.com")
    try:
        sent = other.send()
        assert sent.status is None and sent.problem == "ConnectError" and sent.tries == 3 and other.got == []
    finally:
        other.close()


def test_a_host_that_does_not_answer_is_a_failure_and_no_crash(receiver):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sent = receiver.send(port=closed.getsockname()[1])
    assert sent.status is None and sent.problem == "ConnectError" and sent.tries == 3

    def unknown(*_):
        raise OSError("no such host")

    assert receiver.send(resolve=unknown).problem == "OSError"


def test_a_proxy_of_the_environment_is_not_used(receiver, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert receiver.send().problem is None
