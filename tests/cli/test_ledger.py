"""``neuralyzer ledger`` on a project that answered a request."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from neuralyzer.ledger.events import Event, Facts, Reason
from neuralyzer.ledger.log import Ledger
from neuralyzer.workspace import digests
from neuralyzer.workspace.paths import Workspace

OF_A_CASE = ["received", "located", "audited", "planned", "unlearned", "verified", "certified"]


@pytest.fixture
def entered(made_answer, tmp_path, in_folder):
    """A copy of the answered project, with some more entries."""
    root = tmp_path / "project"
    shutil.copytree(made_answer, root, ignore=shutil.ignore_patterns("__pycache__"))
    ledger = Ledger.of(Workspace(root / ".neuralyzer"))
    ledger.begin("case-x", ["c1", "c2"])
    ledger.record(Event.RECEIVED, "case-x", Facts(due="2026-12-24"))
    ledger.record(Event.EXTENDED, "case-x", Facts(due="2027-01-24", reason=Reason.COMPLEX))
    ledger.store.close()
    return in_folder(root)


def execute(project, statement):
    database = sqlite3.connect(project.path(".neuralyzer/ledger.sqlite"))
    with database:
        database.execute(statement)
    database.close()


def certificate(project):
    return next(project.path(".neuralyzer").glob("cases/*/certificate.json"))


def test_forget_enters_its_verdict_and_the_certificate_proves_it(entered):
    check = entered("certificate", "verify", certificate(entered), "--json").json
    assert check["ok"] and check["ledger"]["index"] == 5 and check["ledger"]["size"] == 6
    entries = entered("ledger", "show", "--subject", "c0", "--json").json
    assert [one["event"] for one in entries] == OF_A_CASE
    entry = entries[5]
    assert entry["facts"]["verdict"] == "forgotten"
    assert entries[6]["facts"]["certificate"] == digests.of_file(certificate(entered))
    assert entry["facts"]["weights"] == check["predicate"]["weights"]["unlearned"]
    assert "verified" in entered("ledger", "show", "--subject", "c0").out


def test_entries_of_a_subject_are_shown_until_its_key_is_erased(entered):
    for names in (["c1"], ["c2"], ["c1", "c2"]):
        words = [word for name in names for word in ("--subject", name)]
        assert [one["event"] for one in entered("ledger", "show", *words, "--json").json] == ["received", "extended"]
    assert "case-x is not closed" in entered("ledger", "unlink", "--subject", "c1").complaint
    assert entered("ledger", "unlink", "--subject", "c1", "--anyway", "--json").json == {"erased": 1}
    assert entered("ledger", "unlink", "--subject", "c0").out == "keys erased: 1\n"  # its case is closed
    assert entered("ledger", "show", "--subject", "c1", "--json").json == []
    assert entered("ledger", "show", "--subject", "c1").out == "no entries\n"
    assert len(entered("ledger", "show", "--subject", "c2", "--json").json) == 2
    assert entered("ledger", "check").code == 0


def test_a_sound_ledger(entered):
    assert entered("ledger", "check", "--json").json == {"ok": True, "size": 9, "checkpoints": 1, "faults": []}
    assert entered("ledger", "check").out == "9 entries fit their hashes; checkpoints that fit: 1\n"


def test_the_projects_own_database_has_its_ledger(entered):
    moved = entered.path("elsewhere.sqlite")
    entered.path(".neuralyzer/ledger.sqlite").rename(moved)
    with entered.path("neuralyzer.toml").open("a") as file:
        file.write(f'\n[database]\nurl = "sqlite:///{moved}"\n')
    assert entered("ledger", "check", "--json").json["size"] == 9


@pytest.mark.parametrize(
    "change, says",
    [
        ("UPDATE ledger_entries SET body = x'00' WHERE position = 1", "entry 1 was changed"),
        ("UPDATE ledger_entries SET key = 'x' WHERE position = 0", "entry 0 was changed"),
        ("DELETE FROM ledger_entries WHERE position = 1", "entry 1 is missing"),
        ("UPDATE ledger_entries SET position = position + 7 WHERE position = 2", "entry 2 is missing"),
        ("DELETE FROM ledger_nodes", "has no hash beside it"),
    ],
)
def test_what_was_changed_is_named_and_exits_1(entered, change, says):
    execute(entered, change)
    answer = entered("ledger", "check")
    assert answer.code == 1 and answer.err == "" and says in answer.out
    assert len(answer.out.splitlines()) == len(entered("ledger", "check", "--json").json["faults"]) > 0


def test_a_fault_is_one_line_however_long(entered):
    execute(entered, "UPDATE ledger_entries SET body = x'00' WHERE position = 1")
    execute(entered, "UPDATE ledger_nodes SET hash = x'00' WHERE number = 1")
    said = entered("ledger", "check").out.splitlines()
    assert (
        len(said) == 2 and said[0] == "entries 0 to 1: one of them was changed together with its hash, or its hash was"
    )
    key = entered("ledger", "checkpoint", "--json").json["key"]
    assert f"key of the ledger: {key}" in entered("ledger", "checkpoint").out.splitlines()


def test_a_checkpoint_kept_elsewhere_finds_a_ledger_that_was_made_anew(entered, tmp_path):
    kept = tmp_path / "kept.checkpoint"
    said = entered("ledger", "checkpoint", "--to", kept, "--json").json
    assert said["size"] == 9 and said["sent"] == [f"written to {kept}"] and said["timestamp"] is None
    assert entered("ledger", "check", "--against", kept).code == 0
    for name in ("ledger.sqlite", "checkpoints"):
        path = entered.path(".neuralyzer") / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "there is no ledger" in entered("ledger", "check", "--against", kept).complaint
    ledger = Ledger.of(Workspace(entered.path(".neuralyzer")))
    ledger.record(Event.RECEIVED, "case-x")
    assert entered("ledger", "check").code == 0
    answer = entered("ledger", "check", "--against", kept)
    assert answer.code == 1 and "a checkpoint counts 9 entries" in answer.out


def test_two_people_countersign_and_the_certificate_says_so(entered, tmp_path):
    workspace = entered.path(".neuralyzer")
    path = entered("ledger", "checkpoint", "--json").json["file"]
    for person in ("ann", "ben"):
        (tmp_path / person).mkdir()
        said = entered("ledger", "countersign", path, "--key", tmp_path / person / "own.pem", "--json").json
        assert said["first"]
        with (workspace / "keys" / "countersigners.txt").open("a") as file:
            file.write(f"{said['key']}\n")
    assert entered("ledger", "prove", certificate(entered)).code == 0
    answer = entered("certificate", "verify", certificate(entered))
    assert answer.code == 0 and "countersigned by 2" in " ".join(answer.out.split())
    assert not entered("ledger", "countersign", path, "--key", tmp_path / "ann" / "own.pem", "--json").json["first"]


def test_what_does_not_continue_is_not_countersigned(entered, tmp_path):
    key, first = tmp_path / "own.pem", entered("ledger", "checkpoint", "--json").json["file"]
    workspace = Workspace(entered.path(".neuralyzer"))
    assert "first checkpoint that you countersign" in entered("ledger", "countersign", first, "--key", key).out
    Ledger.of(workspace).record(Event.CANCELLED, "case-x")
    second = entered("ledger", "checkpoint", "--json").json["file"]
    assert entered("ledger", "countersign", second, "--key", key).code == 0
    assert (
        "of 9 entries does not continue the one of 10"
        in entered("ledger", "countersign", first, "--key", key).complaint
    )
    shutil.rmtree(entered.path(".neuralyzer/checkpoints"))
    entered.path(".neuralyzer/ledger.sqlite").unlink()
    forged = Ledger.of(workspace)
    for occurrence in range(12):
        forged.record(Event.RECEIVED, "case-x", occurrence=occurrence)
    cleansed = entered("ledger", "checkpoint", "--json").json["file"]
    before = Path(cleansed).read_text()
    assert "entries were changed, removed" in entered("ledger", "countersign", cleansed, "--key", key).complaint
    assert Path(cleansed).read_text() == before


def test_a_second_person_needs_no_access_to_the_ledger(entered, tmp_path, monkeypatch):
    key, keys, proof = tmp_path / "own.pem", tmp_path / "ledger.keys", tmp_path / "proof.json"
    first = entered("ledger", "checkpoint", "--json").json
    keys.write_text(f"# published\n{first['key']}\n")
    Ledger.of(Workspace(entered.path(".neuralyzer"))).record(Event.CANCELLED, "case-x")
    second = entered("ledger", "checkpoint", "--json").json["file"]
    proof.write_text(entered("ledger", "consistency", first["file"], second, "--json").out)
    assert json.loads(proof.read_text())["path"] and "10 entries continue 9" in (
        entered("ledger", "consistency", first["file"], second).out
    )
    backwards = entered("ledger", "consistency", second, first["file"])
    assert "was never one of 10" in backwards.complaint
    words = ("--key", key, "--ledger-keys", keys, "--project", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    assert entered("ledger", "countersign", first["file"], *words).code == 0
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"path": [64 * "0"]}))
    refused = entered("ledger", "countersign", second, *words, "--proof", other)
    assert "does not continue" in refused.complaint
    assert "not readable JSON" in entered("ledger", "countersign", second, *words, "--proof", first["file"]).complaint
    assert entered("ledger", "countersign", second, *words, "--proof", proof, "--json").json["first"] is False


def test_an_auditors_key_chooses_cases(entered, tmp_path):
    key = tmp_path / "auditor.key"
    committed = entered("ledger", "auditor-key", "--key", key, "--json").json["commitment"]
    path = entered("ledger", "checkpoint", "--json").json["file"]
    said = entered("ledger", "spot-check", path, "--key", key, "--commitment", committed, "--json").json
    assert said["among"] == 1 and [one["case"] for one in said["chosen"]] == [certificate(entered).parent.name]
    command = f"neuralyzer certificate reproduce {certificate(entered).parent.name}"
    assert [one["reproduce"] for one in said["chosen"]] == [command]
    shown = entered("ledger", "spot-check", path, "--key", key).out
    assert "1 of 1 verdicts" in shown and f"entry 5: {command}\n" in shown
    answer = entered("ledger", "spot-check", path, "--key", key, "--commitment", 64 * "0")
    assert "not the key that was committed to" in answer.complaint
    assert "cannot be chosen" in entered("ledger", "spot-check", path, "--key", key, "--count", "0").complaint


def test_wrong_input_is_said_in_one_line(entered, tmp_path):
    note = tmp_path / "note"
    note.write_text("nothing")
    empty = tmp_path / "empty"
    empty.write_text("# nobody\n")
    for words, says in (
        (("check", "--against", note), "no signed note"),
        (("check", "--against", tmp_path / "none"), "cannot read"),
        (("check", "--database", "none"), "is no URL"),
        (("countersign", note, "--key", tmp_path / "own.pem"), "no signed note"),
        (("countersign", tmp_path / "none", "--key", tmp_path / "own.pem"), "cannot read"),
        (("countersign", note, "--key", tmp_path / "own.pem", "--ledger-keys", note), "is no key"),
        (("spot-check", note, "--key", note), "7 bytes where an auditor's key has 32"),
        (("prove", note), "not readable JSON"),
        (("dated", note, "--roots", note), "cannot read"),
        (("countersign", note, "--key", tmp_path / "own.pem", "--ledger-keys", empty), "holds no key"),
        (("checkpoint", "--to", "http://127.0.0.1:9/"), "could not be reached"),
    ):
        assert says in entered("ledger", *words).complaint, words


def test_without_a_ledger_there_is_nothing_to_check(project):
    assert "there is no ledger" in project("ledger", "check").complaint


def test_a_certificate_without_an_entry_cannot_be_proved_again(entered, tmp_path):
    content = json.loads(certificate(entered).read_text())
    certificate(entered).write_text(json.dumps(content | {"payload": "e30="}))
    assert "has no entry in a ledger" in entered("ledger", "prove", certificate(entered)).complaint


def test_what_is_handed_over_is_checked_without_neuralyzer(entered, tmp_path):
    for path in entered.path(".neuralyzer").rglob("result.json"):  # the project was copied
        original = json.loads(path.read_text())["certificate"].partition("/.neuralyzer/")[0]
        path.write_text(path.read_text().replace(original, str(entered.root)))
    files = entered("export", "--to", tmp_path / "out", "--json").json["files"]
    assert {"verify.py", "README.txt", "ledger.keys", "certificate.ledger.json", "weights.safetensors"} <= set(files)
    code = "import runpy, sys; sys.modules['neuralyzer'] = None; runpy.run_path('verify.py', run_name='__main__')"

    def verify():
        return subprocess.run(
            [sys.executable, "-I", "-c", code, "."], cwd=tmp_path / "out", capture_output=True, text=True, check=False
        )

    done = verify()
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("countersigned by 0") == 2
    content = bytearray((tmp_path / "out" / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "out" / "weights.safetensors").write_bytes(content)
    assert verify().returncode == 1 and "FAIL weights" in verify().stdout
    entered.path(".neuralyzer/ledger.sqlite").unlink()
    shutil.rmtree(entered.path(".neuralyzer/checkpoints"))
    assert "left out the newest proof (there is no ledger in" in entered("export", "--to", tmp_path / "later").out
