import hashlib
import hmac
import json
import os
import stat
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from neuralyzer.errors import CertificateError, StorageError
from neuralyzer.workspace.commitments import commitment
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.signing_keys import key_id, read_public_key, signing_key


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "ws")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_made_on_first_use_for_the_owner_alone_and_the_same_ever_after(workspace):
    first = signing_key(workspace)
    commitment(workspace, ["a"])
    assert mode(workspace.keys) == 0o700
    assert mode(workspace.keys / "signing.pem") == mode(workspace.keys / "subjects.key") == 0o600
    assert sorted(path.name for path in workspace.keys.iterdir()) == ["signing.pem", "signing.pub.pem", "subjects.key"]
    again = signing_key(workspace)
    assert again.private_bytes_raw() == first.private_bytes_raw()
    assert (
        read_public_key(workspace.keys / "signing.pub.pem").public_bytes_raw() == first.public_key().public_bytes_raw()
    )


def test_a_lost_public_key_is_written_again(workspace):
    signing_key(workspace)
    (workspace.keys / "signing.pub.pem").unlink()
    key = signing_key(workspace)
    assert key_id(read_public_key(workspace.keys / "signing.pub.pem")) == key_id(key.public_key())


def test_key_id_is_the_digest_of_the_raw_public_key(workspace):
    public = signing_key(workspace).public_key()
    assert key_id(public) == hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def test_whoever_makes_the_key_first_all_use_the_same(workspace):
    start, ids = threading.Barrier(8), []

    def use():
        start.wait()
        ids.append(key_id(signing_key(workspace).public_key()))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8 and len(set(ids)) == 1


def test_commitment_is_an_hmac_of_the_sorted_names(workspace):
    value = commitment(workspace, ["b", "a", "a"])
    key = (workspace.keys / "subjects.key").read_bytes()
    assert len(key) == 32
    expected = hmac.new(key, json.dumps(["a", "b"]).encode(), hashlib.sha256).hexdigest()
    assert value == f"hmac-sha256:{expected}" == commitment(workspace, ["a", "b"])
    assert value != commitment(workspace, ["ab"])


def test_erasing_the_key_erases_the_name(workspace):
    before = commitment(workspace, ["AIFinn"])
    (workspace.keys / "subjects.key").unlink()
    assert commitment(workspace, ["AIFinn"]) != before


def damaged(workspace):
    return (workspace.keys / "signing.pem").read_bytes()[:60]


def other_kind(workspace):
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted(workspace):
    key = signing_key(workspace)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize("content", [damaged, other_kind, encrypted, lambda workspace: b""])
def test_a_signing_key_that_cannot_be_used_is_one_line(workspace, content):
    signing_key(workspace)
    (workspace.keys / "signing.pem").write_bytes(content(workspace))
    with pytest.raises(CertificateError, match=r"signing\.pem") as error:
        signing_key(workspace)
    assert "\n" not in str(error.value)


def test_a_damaged_commitment_key_is_one_line(workspace):
    commitment(workspace, ["a"])
    (workspace.keys / "subjects.key").write_bytes(b"short")
    with pytest.raises(CertificateError, match="has 5 bytes"):
        commitment(workspace, ["a"])


def test_a_key_that_cannot_be_read_is_one_line(workspace):
    (workspace.keys / "signing.pem").mkdir(parents=True)
    with pytest.raises(CertificateError, match="cannot read the key"):
        signing_key(workspace)


def test_keys_that_cannot_be_written_leave_nothing(workspace, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(StorageError, match="No space left"):
        signing_key(workspace)
    assert list(workspace.keys.iterdir()) == []


def test_public_keys_that_are_none(tmp_path):
    path = tmp_path / "key.pem"
    with pytest.raises(CertificateError, match="cannot read the key"):
        read_public_key(path)
    path.write_bytes(b"no key")
    with pytest.raises(CertificateError, match="no public key in PEM"):
        read_public_key(path)
    public = generate_private_key(SECP256R1()).public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(CertificateError, match="another kind of key"):
        read_public_key(path)
    assert not isinstance(public, Ed25519PublicKey)
