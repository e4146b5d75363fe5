"""The signing of a certificate about a case's weights."""

from pathlib import Path

from neuralyzer.certificates import dsse
from neuralyzer.certificates.statement import PAYLOAD_TYPE, DigestSet, Predicate, Statement, StatementSubject
from neuralyzer.errors import CertificateError
from neuralyzer.workspace import digests, signing_keys
from neuralyzer.workspace.atomic import write_bytes, write_json
from neuralyzer.workspace.paths import Workspace


def certify(predicate: Predicate, weights: Path, workspace: Workspace, path: Path) -> Path:
    """Sign a certificate about a weights file.

    Args:
        predicate: content of the certificate.
        weights: file of the unlearned weights.
        workspace: has the signing key, which is made on first use.
        path: of the envelope. The public key is written beside it, see :func:`public_key_beside`.

    Returns:
        ``path``.

    Raises:
        CertificateError: if ``weights`` is not the file that the predicate is about, or the key cannot be used.
    """
    digest = digests.of_file(weights)
    if digest != predicate.weights.unlearned:
        raise CertificateError(
            f"{weights} has SHA-256 {digest}, but the case's unlearned weights have {predicate.weights.unlearned}; "
            "the file was changed after unlearning"
        )
    statement = Statement(
        subject=[StatementSubject(name=weights.name, digest=DigestSet(sha256=digest))], predicate=predicate
    )
    key = signing_keys.signing_key(workspace)
    envelope = dsse.sign(statement.to_bytes(), PAYLOAD_TYPE, key)
    # The key is written first, so that a certificate can be checked as soon as it exists.
    write_bytes(public_key_beside(path), signing_keys.public_pem(key.public_key()))
    return write_json(path, envelope)


def public_key_beside(path: Path) -> Path:
    """Return the file of a certificate's public key: ``certificate.json`` has ``certificate.pub.pem``."""
    return path.with_suffix(".pub.pem")
