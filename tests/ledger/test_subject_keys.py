import hashlib
import hmac
import json
import stat

import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import LedgerError
from neuralyzer.ledger import subject_keys
from neuralyzer.ledger.subject_keys import Subjects
from neuralyzer.workspace.paths import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def test_each_subject_has_a_key_of_its_own_in_a_file_that_names_nobody(workspace):
    ada, both = Subjects.of(workspace, ["Ada"]), Subjects.of(workspace, ["Bo", "Ada", "Bo"])
    files = sorted((workspace.keys / "subjects").iterdir())
    assert [path.stem for path in files] == list(both.labels) and set(ada.labels) < set(both.labels)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_size == 32 for path in files)
    key = (workspace.keys / "subjects.key").read_bytes()
    own = hmac.new(key, json.dumps(["neuralyzer subject key", "Ada"]).encode(), hashlib.sha256).hexdigest()
    assert ada.labels == (own,)
    assert Subjects.of(workspace, ["Ada"]).key == ada.key != both.key == Subjects.of(workspace, ["Ada", "Bo"]).key
    assert Subjects.of(Workspace(workspace.root.with_name("other")), ["Ada"]).labels != ada.labels


def test_no_two_events_have_one_tag(workspace):
    ada, bo = Subjects.of(workspace, ["Ada"]), Subjects.of(workspace, ["Bo"])
    tags = [
        subjects.tag(case, event, number)
        for subjects in (ada, bo)
        for case in ("case-1", "case-11")
        for event in ("received", "verified")
        for number in (0, 1, 10)
    ]
    assert len(set(tags)) == len(tags)


def test_a_request_without_subjects_is_known_by_its_criteria():
    assert subject_keys.names_in(ErasureRequest(subjects=["Ada", "Bo"], rows=["r1"])) == ["Ada", "Bo"]
    (rows,) = subject_keys.names_in(ErasureRequest(rows=["r2", "r1"], where="age < 18"))
    assert [rows] == subject_keys.names_in(ErasureRequest(rows=["r1", "r2"], where="age < 18", reason="stale"))
    assert [rows] != subject_keys.names_in(ErasureRequest(rows=["r1", "r2"]))
    assert subject_keys.names_in(ErasureRequest(classes=["7"])) != subject_keys.names_in(ErasureRequest(rows=["7"]))


def test_labels_outlast_the_names(workspace):
    began = subject_keys.begin(workspace, "case-1", ["Ada"])
    assert subject_keys.begin(workspace, "case-1", []) == subject_keys.of_case(workspace, "case-1") == began
    assert subject_keys.cases(workspace) == ["case-1"]
    assert "Ada" not in (workspace.cases / "case-1" / "ledger.json").read_text()


def test_an_erased_key_is_not_made_anew_by_a_case_that_goes_on(workspace):
    subject_keys.begin(workspace, "case-1", ["Ada"])
    assert subject_keys.key_of(workspace, "Ada") is not None
    assert subject_keys.erase(workspace, ["Ada"]) == 1
    assert subject_keys.key_of(workspace, "Ada") is None
    with pytest.raises(LedgerError, match="was erased"):
        _ = subject_keys.of_case(workspace, "case-1").key
    assert list((workspace.keys / "subjects").iterdir()) == []


def test_a_damaged_key_is_said(workspace):
    subjects = Subjects.of(workspace, ["Ada"])
    subjects.path(subjects.labels[0]).write_bytes(b"short")
    with pytest.raises(LedgerError, match="has 5 bytes where a subject's key has 32"):
        _ = Subjects.of(workspace, ["Ada"]).key
