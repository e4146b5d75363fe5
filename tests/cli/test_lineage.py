"""Requests that follow one another on the lineage of one model: what each leaves for the next."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from neuralyzer.certificates.check import check
from neuralyzer.workspace import digests

BY_MATCHING = ("--method", "datamodel-matching", "--json")


def test_requests_follow_one_another_on_the_lineage(project):
    original = digests.of_file(project.weights)
    first = project("forget", "--subject", "c0", *BY_MATCHING)
    assert first.code == 0
    # The owner deletes the rows at the source, as the certificate tells them to.
    table = pq.read_table(project.path("train.parquet"))
    pq.write_table(table.filter(pc.not_equal(table["customer"], "c0")), project.path("train.parquet"))
    second = project("forget", "--subject", "c1", *BY_MATCHING)
    assert second.code == 0
    results = [first.json, second.json]
    for result in results:
        assert (
            result["verification"]["verdict"] == "forgotten" and result["unlearning"]["method"] == "datamodel-matching"
        )
        assert check(Path(result["certificate"]), Path(result["weights_file"])).ok
    assert results[0]["weights"]["original"] == original
    assert results[1]["weights"]["original"] == results[0]["weights"]["unlearned"]
    assert results[1]["located"]["rows"] == 40 and results[1]["verification"]["looks"] == 1
    assert digests.of_file(project.weights) == original, "the first of the lineage is never overwritten"
    third = project("verify", "--subject", "c2", "--json")
    assert third.code == 1, "nobody asked to forget c2"
    assert third.json["verdict"] in ("not forgotten", "inconclusive")
    assert project("audit", "--subject", "c2", "--json").json["families"]
    for gone in ("c0", "c1"):
        assert gone in project("audit", "--subject", gone).complaint
    # Asked again, each is answered as before.
    for name, result in zip(("c0", "c1"), results, strict=True):
        again = project("forget", "--subject", name, "--due", "2099-01-31", "--budget", "900", *BY_MATCHING)
        assert again.code == 0 and again.json == result
    # A row that changes under another customer's name is noticed although the lineage has moved on.
    table = pq.read_table(project.path("train.parquet"))
    column = table["p20"].to_numpy().copy()
    column[-1] += 0.25
    pq.write_table(table.set_column(table.column_names.index("p20"), "p20", [column]), project.path("train.parquet"))
    assert "has changed since the last case (" in project("audit", "--subject", "c2").complaint


def test_references_that_are_made_anew_on_the_rows_that_are_left_are_used(project):
    first = project("forget", "--subject", "c0", *BY_MATCHING).json["references"]["digest"]
    assert project("audit", "--subject", "c1", "--json").json["protocol"]["references"] == first
    anew = project("references", "--json").json["digest"]
    assert project("audit", "--subject", "c1", "--json").json["protocol"]["references"] == anew != first


def test_a_holdout_row_that_copies_an_erased_row_stays_left_out(project):
    """The pool was read without it, and a model of the lineage has known its values."""
    train, holdout = (pq.read_table(project.path(f"{name}.parquet")) for name in ("train", "holdout"))
    copied = train.filter(pc.equal(train["customer"], "c0")).slice(0, 1)
    copied = copied.set_column(copied.column_names.index("row_id"), "row_id", [["a copy"]])
    pq.write_table(pa.concat_tables([holdout, copied.cast(holdout.schema)]), project.path("holdout.parquet"))
    assert project("forget", "--subject", "c0", *BY_MATCHING).code == 0
    assert project("audit", "--subject", "c1").code == 0
    pq.write_table(train.filter(pc.not_equal(train["customer"], "c0")), project.path("train.parquet"))
    assert project("forget", "--subject", "c1", *BY_MATCHING).code == 0
    assert project("audit", "--subject", "c2").code == 0


def test_a_project_that_was_moved_goes_on(project, in_folder):
    assert project("forget", "--subject", "c0", *BY_MATCHING).code == 0
    moved = project.root.with_name("moved")
    project.root.rename(moved)
    answer = in_folder(moved)("audit", "--subject", "c1", "--json")
    assert answer.code == 0 and answer.json["verdict"] == "not forgotten"


def test_another_recipe_is_refused_by_the_lineages_references(answered):
    text = answered.path("oracle.py").read_text()
    answered.path("other.py").write_text(text.replace("epochs=40", "epochs=41"))
    settings = answered.path("neuralyzer.toml").read_text()
    answered.path("other.toml").write_text(settings.replace("oracle:recipe", "other:recipe"))
    assert "another recipe" in answered("audit", "--subject", "c1", "--project", "other.toml").complaint
    assert answered("audit", "--subject", "c1").code == 0


def test_changed_rows_are_noticed_on_a_lineage_without_references(project):
    project.edit("holdout =", "# holdout =")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuralyzer.cases.screen.case_view", lambda result: result)
        assert project("forget", "--subject", "c0", "--json").code == 0
    table = pq.read_table(project.path("train.parquet"))
    kept = table.filter(pc.not_equal(table["row_id"], table["row_id"][-1]))
    pq.write_table(kept, project.path("train.parquet"))
    assert "changed" in project("plan", "--subject", "c1", "--json").complaint


def test_a_request_by_predicate(project):
    words = ("--where", "p20 < 0.5 and customer = 'c0'")
    table = pq.read_table(project.path("train.parquet"), columns=["p20", "customer"])
    rows = len(table.filter(pc.and_(pc.less(table["p20"], 0.5), pc.equal(table["customer"], "c0"))))
    answer = project("forget", *words, "--guarantee", "exact", "--reason", "stale", "--decided-by", "the owner",
                     "--due", "2026-12-31", "--name-subject", "--json")  # fmt: skip
    result = answer.json
    assert answer.code == 0 and result["verification"]["basis"] == "exact"
    assert result["located"]["rows"] == result["request"]["rows"] == rows < 40
    assert result["request"]["reason"] == "stale" and result["request"]["decided_by"] == "the owner"
    assert result["request"]["due"] == "2026-12-31" and result["request"]["guarantee"] == "exact"
    assert result["request"]["subjects"] == [words[1]], "named where that was asked for"


def test_a_model_that_does_not_forget_enough_exits_1(project):
    """No option passes the team's test, retraining neither: said, recorded, and the original stays the present one."""
    project.edit('# acceptance = "pytest tests/model"', 'acceptance = "false"')
    original = digests.of_file(project.weights)
    answer = project("forget", "--subject", "c0", "--guarantee", "exact", "--method", "rollback", "--json")
    assert answer.code == 1
    assert [attempt["method"] for attempt in answer.json["unlearning"]["attempts"]] == ["rollback", "retrain"]
    assert answer.json["acceptance"] == {
        "passed": 0, "failed": 1, "tests": [{"name": "false", "ok": False}], "command": "false",
    }  # fmt: skip
    assert digests.of_file(project.weights) == original
    assert project("audit", "--subject", "c0", "--json").json["verdict"] == "not forgotten"


def test_a_person_watches_the_case_and_the_teams_tests(project):
    project.path("check.py").write_text(
        "import hashlib, os, sys\n"
        "print('noise on stdout')\n"
        "weights = open(os.environ['NEURALYZER_WEIGHTS'], 'rb').read()\n"
        "open('seen', 'w').write(hashlib.sha256(weights).hexdigest())\n"
    )
    project.edit('# acceptance = "pytest tests/model"', f'acceptance = "{sys.executable} check.py"')
    answer = project("forget", "--subject", "c0", "--method", "influence")
    assert answer.code == 0 and "noise" not in answer.out + answer.err
    story = [
        "located", "The model holds", "options", "influence", "acceptance tests on the new weights", "✓ python",
        "verification", "Forgotten", "FORGOTTEN", "report",
    ]  # fmt: skip
    places = [answer.out.find(word) for word in story]
    assert -1 not in places and places == sorted(places)
    assert project.cases[0].name in answer.out
    (result,) = project.root.glob(".neuralyzer/cases/*/result.json")
    assert project.path("seen").read_text() == json.loads(result.read_text())["weights"]["unlearned"]
