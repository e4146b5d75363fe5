"""Checkpoints that leave the operator's machine: to a file, an address, and a time-stamp authority made here."""

import datetime as dt
import shutil

import pytest

from neuralyzer.errors import LedgerError, StorageError, UsageError
from neuralyzer.ledger.events import Event
from neuralyzer.ledger.publishing import publish, stamped_at, time_stamp
from tests.authority import Authority, served

MINUTES = dt.timedelta(minutes=5)


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
    assert (
        stamp.parent == path.parent
        and abs(stamped_at(path, stamp, authority.roots) - dt.datetime.now(dt.UTC)) < MINUTES
    )
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
