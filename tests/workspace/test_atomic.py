"""Atomic writes: whole or not at all, whatever breaks in the middle."""

import errno
import json
import os
import resource
import signal

import pytest
import torch

from neuralyzer.errors import StorageError, UnreadableError
from neuralyzer.models import weights
from neuralyzer.workspace import atomic


def full_disk(*_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_writes_whole_files_and_makes_their_folder(tmp_path):
    path = atomic.write_json(tmp_path / "new" / "facts.json", {"b": 1, "a": [1.5, None]})
    assert json.loads(path.read_text()) == {"a": [1.5, None], "b": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["facts.json"]


def test_mode_is_what_was_asked_for(tmp_path):
    assert atomic.write_bytes(tmp_path / "key", b"secret", 0o600).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", [None, b"as it was"])
def test_a_failing_writer_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def write(part):
        part.write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic.write_with(path, write)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("before", [None, b"as it was"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, call, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(StorageError, match=r"cannot write .*file: No space left on device; free space"):
        atomic.write_bytes(path, b"new")
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_folder_that_is_a_file_is_said_to_be_so(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="taken"):
        atomic.write_bytes(tmp_path / "taken" / "file", b"")


def test_weights_that_do_not_fit_on_the_disk_leave_nothing(tmp_path):
    """The file size limit makes the system refuse the write as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"model\.safetensors"):
            weights.save(torch.nn.Linear(100, 100), tmp_path / "model.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_json_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "facts.json", {"trace": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_a_truncated_file_is_unreadable(tmp_path, content):
    (tmp_path / "facts.json").write_bytes(content)
    with pytest.raises(UnreadableError, match="truncated"):
        atomic.read_json(tmp_path / "facts.json")


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableError, match="does not exist"):
        atomic.read_json(tmp_path / "facts.json")
