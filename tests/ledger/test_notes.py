"""Signed notes, against the example of the format's first implementation."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import notes
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.notes import COUNTERSIGNATURE, Key, Signature

# From the documentation of golang.org/x/mod/sumdb/note.
PUBLISHED = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED = (
    f"{TEXT}\n\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER, SECOND = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
KEY, COUNTER = Key("ledger", SIGNER.public_key()), Key("second", SECOND.public_key(), COUNTERSIGNATURE)


def test_the_published_note():
    key = Key.parse(PUBLISHED)
    assert str(key) == PUBLISHED
    assert notes.verify(SIGNED, [key]) == (TEXT, [Signature("PeterNeumann", None)])


def test_a_note_and_its_countersignature():
    note = notes.countersign(notes.sign(TEXT, "ledger", SIGNER), "second", SECOND, 1_700_000_000)
    assert notes.verify(note, [KEY, COUNTER, KEY]) == (
        TEXT, [Signature("ledger", None), Signature("second", 1_700_000_000)],
    )  # fmt: skip
    assert notes.verify(note, [COUNTER])[1] == [Signature("second", 1_700_000_000)]
    assert notes.verify(note, [Key("ledger", SECOND.public_key())])[1] == []  # another key of that name


@pytest.mark.parametrize("change", [
    lambda note: note.replace("problem", "Problem", 1), lambda note: "\n" + note, lambda note: "more\n\n" + note,
])  # fmt: skip
def test_a_changed_text_is_refused(change):
    note = notes.countersign(notes.sign(TEXT, "ledger", SIGNER), "second", SECOND, 5)
    for key in (KEY, COUNTER):
        with pytest.raises(LedgerError, match="does not fit"):
            notes.verify(change(note), [key])


def test_a_changed_time_is_refused():
    note = notes.countersign(notes.sign(TEXT, "ledger", SIGNER), "second", SECOND, 5)
    line = note.splitlines()[-1].split()[-1]
    content = bytearray(base64.b64decode(line))
    content[notes.HASH + notes.TIME - 1] += 1
    with pytest.raises(LedgerError, match="second does not fit"):
        notes.verify(note.replace(line, base64.b64encode(content).decode()), [COUNTER])


@pytest.mark.parametrize("note", [
    "", TEXT, f"{TEXT}\n", f"{TEXT}\n- ledger AAAA\n", f"{TEXT}\n\N{EM DASH} ledger !!\n", SIGNED.rstrip("\n"),
])  # fmt: skip
def test_what_is_no_note_is_refused(note):
    with pytest.raises(LedgerError, match="no signed note"):
        notes.verify(note, [KEY])


@pytest.mark.parametrize("line", ["", "name", "name+00000000+AAAA", PUBLISHED.replace("c7", "c8"), "a b" + PUBLISHED])
def test_what_is_no_key_is_refused(line):
    with pytest.raises(LedgerError):
        Key.parse(line)


@pytest.mark.parametrize("text", ["no new line", "a\tb\n"])
def test_what_cannot_be_signed_is_refused(text):
    with pytest.raises(LedgerError, match="ends with a new line"):
        notes.sign(text, "ledger", SIGNER)


def test_a_checkpoint_is_read_as_it_was_written():
    checkpoint = Checkpoint("example.org/ledger", 7, bytes(range(32)))
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert Checkpoint.parse(checkpoint.text + "an extension\n") == checkpoint


@pytest.mark.parametrize(
    "text", ["", "a\n1\n", "a\n01\nAAAA\n", "a\n-1\n" + "A" * 43 + "=\n", "\n1\n" + "A" * 43 + "=\n"]
)
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(LedgerError, match="no checkpoint"):
        Checkpoint.parse(text)
