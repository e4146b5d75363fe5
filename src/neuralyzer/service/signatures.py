"""The RSA key by which the service signs what it tells consent platforms, and the certificate that they check it by."""

import base64
import datetime as dt

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from neuralyzer.errors import CertificateError
from neuralyzer.workspace.commitments import first_use
from neuralyzer.workspace.paths import Workspace

KEY, CERTIFICATE = "opendsr.pem", "opendsr.crt.pem"  # in the workspace's keys
BITS, EXPONENT = 3072, 65537
DAYS = 3650  # that a certificate of our own is valid


class Signer:
    """Signs bodies.

    The certificate that is made on first use signs itself. OpenDSR 2.0, section 4.1, wants one of a trusted authority:
    put that in its place, with its key.

    Args:
        workspace: has key and certificate.
        domain: that the certificate is for.

    Raises:
        CertificateError: if key or certificate cannot be used, or one is not the other's.
    """

    def __init__(self, workspace: Workspace, domain: str) -> None:
        path = workspace.keys / KEY
        content = first_use(path, _new_key)
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(
                f"{path} is no usable private key; restore it, or remove it and its certificate"
            ) from error
        if not isinstance(key, RSAPrivateKey):
            raise CertificateError(f"{path} holds another kind of key; OpenDSR's signatures are RSA")
        self._key, self.domain = key, domain
        place = workspace.keys / CERTIFICATE
        self.certificate = first_use(place, lambda: _own_certificate(key, domain))
        try:
            known = x509.load_pem_x509_certificate(self.certificate)
        except ValueError as error:
            raise CertificateError(f"{place} is no certificate in PEM; restore it, or remove it") from error
        if _public(known.public_key()) != _public(key.public_key()):
            raise CertificateError(f"{place} is not the certificate of {path}; put the two together")

    def headers(self, body: bytes) -> dict[str, str]:
        """Return the headers of OpenDSR 2.0, section 8.3, for a body."""
        signature = self._key.sign(body, PKCS1v15(), SHA256())
        return {
            "X-OpenDSR-Processor-Domain": self.domain,
            "X-OpenDSR-Signature": base64.b64encode(signature).decode(),
        }


def _new_key() -> bytes:
    key = generate_private_key(EXPONENT, BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _own_certificate(key: RSAPrivateKey, domain: str) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain[:64])])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)
