import base64
import copy

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from neuralyzer.certificates.dsse import pae, sign, verify
from neuralyzer.errors import CertificateError

KIND = "application/vnd.in-toto+json"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def sslib_public(key, keyid):
    raw = key.public_key().public_bytes_raw().hex()
    return SSlibKey(keyid, "ed25519", "ed25519", {"public": raw})


def test_pae_of_the_specification():
    # The worked example of the DSSE specification, protocol.md.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.binary(max_size=200), st.text(min_size=1, max_size=30))
def test_what_is_signed_is_what_is_verified(payload, kind):
    assert verify(sign(payload, kind, KEY), [KEY.public_key()]) == payload


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_byte_of_the_payload_is_caught(payload, data):
    envelope = sign(payload, KIND, KEY)
    place = data.draw(st.integers(0, len(payload) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytes(byte ^ flip if i == place else byte for i, byte in enumerate(payload))
    envelope["payload"] = base64.b64encode(changed).decode()
    with pytest.raises(CertificateError, match="does not fit"):
        verify(envelope, [KEY.public_key()])


@given(st.data())
def test_any_changed_character_of_the_signature_is_caught(data):
    envelope = sign(b"payload", KIND, KEY)
    text = envelope["signatures"][0]["sig"]
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(exclude_characters=text[place], codec="utf-8"))
    changed = text[:place] + letter + text[place + 1 :]
    envelope["signatures"][0]["sig"] = changed
    if changed.replace("-", "+").replace("_", "/") == text:
        return  # the URL-safe spelling of the same bytes, which DSSE allows
    with pytest.raises(CertificateError):
        verify(envelope, [KEY.public_key()])


def test_another_type_is_caught():
    envelope = sign(b"payload", KIND, KEY) | {"payloadType": "text/plain"}
    with pytest.raises(CertificateError, match="does not fit"):
        verify(envelope, [KEY.public_key()])


def test_another_key_is_caught_even_under_the_right_keyid():
    envelope = sign(b"payload", KIND, OTHER)
    envelope["signatures"][0]["keyid"] = sign(b"", KIND, KEY)["signatures"][0]["keyid"]
    with pytest.raises(CertificateError, match="0 of the 1 trusted keys"):
        verify(envelope, [KEY.public_key()])


def test_keyid_is_only_a_hint():
    envelope = sign(b"payload", KIND, KEY)
    envelope["signatures"][0].pop("keyid")
    assert verify(envelope, [OTHER.public_key(), KEY.public_key()]) == b"payload"


def test_threshold_counts_different_keys():
    envelope = sign(b"payload", KIND, KEY)
    envelope["signatures"] *= 2
    keys = [KEY.public_key(), KEY.public_key(), OTHER.public_key()]
    with pytest.raises(CertificateError, match="1 of the 2 trusted keys"):
        verify(envelope, keys, threshold=2)
    envelope["signatures"] += sign(b"payload", KIND, OTHER)["signatures"]
    assert verify(envelope, keys, threshold=2) == b"payload"
    with pytest.raises(CertificateError, match="threshold is 0"):
        verify(envelope, keys, threshold=0)


@pytest.mark.parametrize(
    "change",
    [
        {"signatures": None},
        {"signatures": []},
        {"signatures": ["text"]},
        {"signatures": [{}]},
        {"signatures": [{"sig": "AA=="}]},
        {"payload": None},
        {"payload": "é"},
        {"payload": "AAA"},
        {"payload": "AB=="},  # two spellings of one byte; only the canonical one is taken
        {"payloadType": 3},
    ],
)
def test_what_is_no_envelope(change):
    with pytest.raises(CertificateError):
        verify(sign(b"payload", KIND, KEY) | change, [KEY.public_key()])


def test_no_trusted_key_verifies_nothing():
    with pytest.raises(CertificateError):
        verify(sign(b"payload", KIND, KEY), [])


def test_securesystemslib_verifies_ours():
    ours = sign(b"payload", KIND, KEY)
    keyid = ours["signatures"][0]["keyid"]
    envelope = Envelope.from_dict(copy.deepcopy(ours))
    assert envelope.pae() == pae(KIND, b"payload")
    envelope.verify([sslib_public(KEY, keyid)], 1)
    with pytest.raises(VerificationError):
        envelope.verify([sslib_public(OTHER, keyid)], 1)


def test_ours_verifies_securesystemslib():
    envelope = Envelope(b"payload", KIND, {})
    envelope.sign(CryptoSigner(KEY))
    assert verify(envelope.to_dict(), [KEY.public_key()]) == b"payload"
    with pytest.raises(CertificateError):
        verify(envelope.to_dict(), [OTHER.public_key()])
