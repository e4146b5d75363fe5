"""Checkpoints that leave the operator's machine: to a file, an address, and a time-stamp authority made here."""

import datetime as dt
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from neuralyzer.errors import LedgerError, StorageError, UsageError
from neuralyzer.ledger.events import Event
from neuralyzer.ledger.publishing import publish, stamped_at, time_stamp

NOW = dt.datetime.now(dt.UTC)


@contextmanager
def served(answer):
    """A server on loopback; ``answer`` makes status and bytes of what is sent to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            status, content = answer(self.rfile.read(int(self.headers["Content-Length"])), self.headers["Content-Type"])
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/stamp"
        finally:
            server.shutdown()
            thread.join()


def test_a_checkpoint_goes_to_a_file_which_is_not_overwritten(ledger, tmp_path):
    path, to = ledger.checkpoint(), tmp_path / "usb" / "checkpoint"
    assert publish(path, str(to)) == f"written to {to}" and to.read_bytes() == path.read_bytes()
    publish(path, str(to))
    ledger.record(Event.CANCELLED, "case-a")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        publish(ledger.checkpoint(), str(to))


def test_a_checkpoint_is_sent_to_an_address(ledger):
    taken = []
    with served(lambda content, kind: (taken.append((content, kind)), (201, b""))[1]) as url:
        assert publish(ledger.checkpoint(), url) == f"sent to {url}"
    assert taken == [(ledger.checkpoint().read_bytes(), "text/plain; charset=utf-8")]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_address_that_does_not_take_it_is_an_error(ledger, status):
    with served(lambda content, kind: (status, b"")) as url, pytest.raises(StorageError, match=f"status {status}"):
        publish(ledger.checkpoint(), url)


def test_an_address_that_does_not_answer_is_an_error(ledger):
    with served(lambda content, kind: (200, b"")) as url:
        pass
    with pytest.raises(StorageError, match="could not be reached"):
        publish(ledger.checkpoint(), url)
    with served(lambda content, kind: (200, bytes(2 << 20))) as url, pytest.raises(StorageError, match="more than"):
        publish(ledger.checkpoint(), url)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """A time-stamp authority: its certificates are made by cryptography, its answers by openssl."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        root, own = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        above = self.certificate("root", root, "root", root, x509.BasicConstraints(True, None))
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        below = self.certificate("stamps", own, "root", root, usage)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(above.public_bytes(Encoding.PEM))
        (folder / "own.pem").write_bytes(below.public_bytes(Encoding.PEM))
        (folder / "key.pem").write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "serial").write_text("01\n")
        (folder / "settings").write_text(
            "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_cert = own.pem\ncerts = own.pem\n"
            "signer_key = key.pem\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\n"
            "ess_cert_id_alg = sha256\n"
        )

    @staticmethod
    def certificate(name, key, issuer, signs, extension):
        builder = x509.CertificateBuilder(
            named(issuer), named(name), key.public_key(), x509.random_serial_number(),
            NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=1),
        )  # fmt: skip
        return builder.add_extension(extension, critical=True).sign(signs, SHA256())

    def answer(self, query, kind="application/timestamp-query"):
        assert kind == "application/timestamp-query"
        (self.folder / "query").write_bytes(query)
        words = ["openssl", "ts", "-reply", "-config", "settings", "-queryfile", "query", "-out", "reply"]
        subprocess.run(words, cwd=self.folder, check=True, capture_output=True)
        return 200, (self.folder / "reply").read_bytes()


@pytest.fixture
def authority(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the authority's answers")
    pytest.importorskip("rfc3161_client", reason="rfc3161-client is not installed (extra service)")
    return Authority(tmp_path / "authority")


def test_a_time_stamp_says_when_a_checkpoint_existed(ledger, authority, tmp_path):
    path = ledger.checkpoint()
    with served(authority.answer) as url:
        stamp = time_stamp(path, url)
    assert stamp.parent == path.parent and abs(stamped_at(path, stamp, authority.roots) - NOW) < dt.timedelta(minutes=5)
    path.write_text(path.read_text() + "\N{EM DASH} someone AAAAAAAA\n")  # a countersignature that came later
    assert stamped_at(path, stamp, authority.roots)
    ledger.record(Event.CANCELLED, "case-a")
    with pytest.raises(LedgerError, match="is no time-stamp of"):
        stamped_at(ledger.checkpoint(), stamp, authority.roots)
    with pytest.raises(LedgerError, match="is no time-stamp of"):
        stamped_at(path, stamp, Authority(tmp_path / "other").roots)
    content = bytearray(stamp.read_bytes())
    content[-1] ^= 1
    stamp.write_bytes(content)
    with pytest.raises(LedgerError, match="is no time-stamp of"):
        stamped_at(path, stamp, authority.roots)


def test_an_authority_that_stamps_something_else_is_refused(ledger, authority):
    path = ledger.checkpoint()
    with served(authority.answer) as url:
        earlier = time_stamp(path, url).read_bytes()
    ledger.record(Event.CANCELLED, "case-a")
    for content, says in ((earlier, "of something else"), (b"no", "no time-stamp"), (b"", "no time-stamp")):
        with served(lambda query, kind, content=content: (200, content)) as url, pytest.raises(LedgerError, match=says):
            time_stamp(ledger.checkpoint(), url)
    with served(lambda query, kind: authority.answer(b"no", kind)) as url, pytest.raises(LedgerError, match="gives no"):
        time_stamp(ledger.checkpoint(), url)
    assert not list(ledger.workspace.root.glob("checkpoints/*16*.tsr"))
