"""A time-stamp authority (RFC 3161) for tests, and a server on loopback."""

import datetime as dt
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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
