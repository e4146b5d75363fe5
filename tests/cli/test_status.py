"""``status`` and ``export``: how a project stands, and what is handed over."""

import datetime as dt
import html
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neuralyzer.certificates.check import check


def test_a_project_without_cases(project):
    found = project("status", "--json").json
    assert found["model"] == {"weights": "oracle.safetensors", "there": True, "erased": 0}
    assert [pool["finished"] for pool in found["references"]] == [True] and found["cases"] == []
    assert "cases       none" in project("status").out


def test_a_folder_without_anything(files):
    assert "does not exist; make one" in files("status").complaint
    files("init", "--id", "row_id")
    assert files("status", "--json").json["model"]["there"] is False and "not there yet" in files("status").out


def test_a_closed_case(answered):
    found = answered("status", "--json").json
    (case,) = found["cases"]
    assert case["state"] == "closed" and case["verdict"] == "forgotten" and not case["missed"]
    assert found["model"]["erased"] > 0 and "attempts" in found["model"]["weights"]
    assert case["case"] in answered("status").out


def test_a_date_that_was_missed_is_said(project):
    folder = project.path(".neuralyzer/cases/case-000000000000")
    folder.mkdir(parents=True)
    past, future = "2020-01-31", (dt.datetime.now(dt.UTC) + dt.timedelta(days=9)).date().isoformat()
    for due, missed in ((past, True), (future, False), (None, False)):
        (folder / "request.json").write_text(json.dumps({"request": {"due": due}, "received": "2020-01-01T00:00:00"}))
        (case,) = project("status", "--json").json["cases"]
        assert case["missed"] is missed and case["state"] == "begun"
        assert ("missed" in project("status").out) is missed


def test_who_asked_whom_and_that_it_was_late_stand_in_report_certificate_and_status(project):
    path = project.path("neuralyzer.toml")
    path.write_text(path.read_text() + '\n[report]\norganisation = "Example Ltd"\nmodel = "Oracle 3"\n')
    asked = ("--subject", "c0", "--received", "2020-01-05", "--due", "2020-02-05", "--decided-by", "Dr. Weber")
    answer = project("forget", *asked, "--method", "influence", "--json").json
    assert (answer["organisation"], answer["model"]) == ("Example Ltd", "Oracle 3")
    assert answer["request"]["received"] == "2020-01-05" and answer["request"]["done"] > "2026"
    days = (dt.date.fromisoformat(answer["request"]["done"][:10]) - dt.date(2020, 2, 5)).days
    page = html.unescape(Path(answer["report"]).read_text()).replace("\u202f", "")
    for said in ("Example Ltd", "Oracle 3", "received on 2020-01-05", f"{days} days late", "Dr. Weber decided on it"):
        assert said in page, said
    assert "(40 rows)" in page
    record = check(Path(answer["certificate"])).predicate["request"]
    assert (record["received"], record["due"], record["done"]) == (
        "2020-01-05",
        "2020-02-05",
        answer["request"]["done"],
    )
    (case,) = project("status", "--json").json["cases"]
    assert case["missed"] and case["state"] == "closed" and case["done"] == answer["request"]["done"]
    # another date that it came in on is no other request
    again = project(
        "forget", *asked[:2], "--due", "2020-02-05", "--decided-by", "Dr. Weber", "--method", "influence", "--json"
    )
    assert again.json["case"] == answer["case"]


def test_what_is_handed_over_verifies_elsewhere(answered, tmp_path):
    said = answered("export", "--to", tmp_path / "out", "--json").json
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(said["files"])
    moved = shutil.move(tmp_path / "out", tmp_path / "there")
    checked = answered(
        "certificate", "verify", f"{moved}/certificate.json", "--weights", f"{moved}/weights.safetensors"
    )
    assert checked.code == 0
    again = answered("export", "--to", moved)
    assert "exists already, and nothing is overwritten" in again.complaint


@pytest.mark.parametrize("case", [(), ("--case", "case-123456789012")])
def test_there_is_nothing_to_hand_over(project, tmp_path, case):
    assert "there are: none" in project("export", "--to", tmp_path / "out", *case).complaint
    assert not (tmp_path / "out").exists()


def test_weights_that_were_changed_are_not_handed_over(answered, tmp_path, in_folder):
    root = tmp_path / "copy"
    shutil.copytree(answered.root, root)
    for path in root.rglob("result.json"):
        path.write_text(path.read_text().replace(str(answered.root), str(root)))
    other = in_folder(root)
    (weights,) = root.glob(".neuralyzer/cases/*/attempts/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert "cannot be handed over" in other("export", "--to", tmp_path / "out").complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("--help",),
        ("certificate", "--help"),
        ("certificate", "verify", "{case}/certificate.json", "--weights", "{weights}"),
        ("export", "--to", "{new}/release"),
        ("init", "--project", "{new}/neuralyzer.toml"),
    ],
    ids=lambda verb: " ".join(verb[:2]),
)
def test_what_needs_no_torch_loads_none(answered, tmp_path, verb):
    """Importing it takes longer than all the rest."""
    (case,) = answered.path(".neuralyzer/cases").iterdir()
    (weights,) = case.glob("attempts/*/weights.safetensors")
    words = [word.format(case=case, weights=weights, new=tmp_path) for word in verb]
    code = f"import sys; from neuralyzer.cli.app import app\ntry: app({words!r})\nexcept SystemExit as left: print(left.code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=answered.root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
