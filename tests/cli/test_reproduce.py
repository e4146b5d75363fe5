"""``certificate reproduce``: a past case is run again and compared with its certificate."""

import base64
import json
import shutil
import sys
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

import neuralyzer as nz
from neuralyzer.cases.batch import Batch
from neuralyzer.certificates import dsse
from neuralyzer.cli.app import app
from neuralyzer.project.lineage import Lineage
from neuralyzer.project.project import Project
from neuralyzer.workspace import digests, signing_keys
from neuralyzer.workspace.paths import Workspace
from tests.cli.conftest import enter_alone, must
from tests.rates import RATES


def of(project):
    """The one case with a certificate."""
    (folder,) = [path for path in project.cases if (path / "certificate.json").exists()]
    return folder


def copy(made, root, in_folder):
    shutil.copytree(made, root, ignore=shutil.ignore_patterns("__pycache__"))
    return in_folder(root)


def everything(project):
    """Digest of every file of a project, by its path."""
    return {
        str(path): digests.of_file(path)
        for path in project.root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def reproduced(project, *words, code=0):
    """What the command found; nothing of the project may have changed."""
    before = everything(project)
    answer = project("certificate", "reproduce", *words, "--json")
    assert everything(project) == before and answer.code == code, answer
    return answer.json


def paths(found):
    return {one["what"] for one in found["differences"]}


@pytest.fixture(scope="module")
def made_open(made_project, tmp_path_factory):
    """The project with a case that stays open, since nothing satisfies its policy: its references are whole."""
    root = tmp_path_factory.mktemp("open") / "project"
    shutil.copytree(made_project, root)
    text = (root / "neuralyzer.toml").read_text()
    assert "max_trace = 0.75" in text
    (root / "neuralyzer.toml").write_text(text.replace("max_trace = 0.75", "max_trace = 0.001"))
    with pytest.MonkeyPatch.context() as patch:
        enter_alone(patch, root)
        with pytest.raises(SystemExit):
            app(["forget", "--subject", "c1", "--method", "influence", "--json"])
    return root


@pytest.fixture(scope="module")
def made_release(made_project, tmp_path_factory):
    """The project whose present model has forgotten c0, by a replay; the references have forgotten it too."""
    root = tmp_path_factory.mktemp("released") / "project"
    shutil.copytree(made_project, root)
    with pytest.MonkeyPatch.context() as patch:
        enter_alone(patch, root)
        must("forget", "--subject", "c0", "--method", "rollback", "--json")
    return root


@pytest.fixture
def open_case(made_open, tmp_path, in_folder):
    return copy(made_open, tmp_path / "project", in_folder)


@pytest.fixture
def released(made_release, tmp_path, in_folder):
    return copy(made_release, tmp_path / "project", in_folder)


def test_weights_verdict_and_each_number_are_found_again(made_open, in_folder):
    project = in_folder(made_open)
    found = reproduced(project, of(project).name)
    assert found["outcome"] == "reproduced" and found["weights"] and found["verdict"] == "inconclusive"
    assert found["differences"] == found["reasons"] == found["environment"] == []
    said = project("certificate", "reproduce", of(project) / "certificate.json")
    assert said.code == 0 and "reproduced\nweights      equal bit by bit" in said.out


def test_a_stored_result_or_weights_that_were_changed_are_found(open_case):
    case = of(open_case)
    result = json.loads((case / "result.json").read_text())
    result["verification"]["p_value"] /= 2
    result["verification"]["families"][0]["unlearned"] += 0.5
    signal = result["verification"]["families"][0]["signal"]
    (case / "result.json").write_text(json.dumps(result))
    shutil.copyfile(open_case.weights, case / "attempts/0-influence/weights.safetensors")
    found = reproduced(open_case, case.name, code=1)
    assert found["outcome"] == "differs" and found["weights"]
    assert paths(found) == {
        "stored weights", "stored result.verification.p_value", f"stored result.verification.families.{signal}.after.trace"
    }  # fmt: skip
    result["verification"]["verdict"] = "well"
    (case / "result.json").write_text(json.dumps(result))
    found = reproduced(open_case, case.name, code=1)
    assert paths(found) == {"stored result"}


def sign_anew(project, change):
    """A certificate that its operator invented, and signed as every other."""
    path = of(project) / "certificate.json"
    statement = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))
    change(statement)
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    key = signing_keys.signing_key(Project.read(project.path("neuralyzer.toml")).workspace)
    path.write_text(json.dumps(dsse.sign(payload, "application/vnd.in-toto+json", key)))


def test_invented_weights_and_an_invented_verdict_differ(open_case):
    other = digests.of_file(open_case.weights)

    def invent(statement):
        predicate = statement["predicate"]
        statement["subject"][0]["digest"]["sha256"] = predicate["weights"]["unlearned"] = other
        predicate["verification"] |= {"verdict": "forgotten", "p_value": 0.5}
        predicate["ledger"] = None

    sign_anew(open_case, invent)
    assert open_case("certificate", "verify", of(open_case) / "certificate.json").code == 0, "it seems right"
    found = reproduced(open_case, of(open_case).name, code=1)
    assert found["outcome"] == "differs" and not found["weights"] and found["verdict"] == "inconclusive"
    assert {"weights.unlearned", "verification.verdict", "verification.p_value"} <= paths(found)
    certified = {one["what"]: one["certified"] for one in found["differences"]}
    assert certified["verification.verdict"] == "forgotten" and certified["weights.unlearned"] == other


def test_other_weights_tell_nothing_where_a_time_limit_was_reached(open_case):
    def invent(statement):
        other = digests.of_file(open_case.weights)
        statement["subject"][0]["digest"]["sha256"] = statement["predicate"]["weights"]["unlearned"] = other
        statement["predicate"]["ledger"] = None

    case = of(open_case)
    sign_anew(open_case, invent)
    (case / "attempts/0-influence/weights.safetensors").unlink()
    received = json.loads((case / "request.json").read_text())
    received["request"]["budget"] = 1e-6
    (case / "request.json").write_text(json.dumps(received))
    found = reproduced(open_case, case.name, code=2)
    assert found["outcome"] == "cannot be run again" and "a time limit stopped an attempt" in found["reasons"][0]


def test_other_versions_are_named(open_case):
    def older(statement):
        statement["predicate"]["method"]["versions"] |= {"torch": "1.0"}

    sign_anew(open_case, older)
    found = reproduced(open_case, of(open_case).name)
    assert len(found["environment"]) == 1 and found["environment"][0].endswith(", then 1.0")


def test_another_request_than_the_certified_one_is_refused(open_case):
    case = of(open_case)
    received = json.loads((case / "request.json").read_text())
    received["request"]["subjects"] = ["c2"]
    (case / "request.json").write_text(json.dumps(received))
    found = reproduced(open_case, case.name, code=2)
    assert "is not the one certified" in found["reasons"][0]


def test_a_changed_certificate_is_refused(open_case):
    path = of(open_case) / "certificate.json"
    envelope = json.loads(path.read_text())
    payload = base64.b64decode(envelope["payload"]).replace(b'"inconclusive"', b'"forgotten"')
    path.write_text(json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}))
    found = reproduced(open_case, path, code=2)
    assert found["outcome"] == "cannot be run again" and "the signature does not fit" in found["reasons"][0]
    assert "neither a certificate's file nor a case" in open_case("certificate", "reproduce", "case-1").complaint


def test_after_the_release_the_weights_and_what_the_training_record_says(made_release, in_folder):
    project = in_folder(made_release)
    found = reproduced(project, of(project).name)
    assert found["outcome"] == "reproduced" and found["weights"] and found["verdict"] == "forgotten", "by its record"
    assert "were erased when a case was closed" in found["reasons"][0]


def test_what_is_missing_is_said_in_a_line(released):
    def cannot(says):
        found = reproduced(released, case, code=2)
        assert found["outcome"] == "cannot be run again" and says in found["reasons"][0], found
        return released("certificate", "reproduce", case)

    case = of(released).name
    released.edit("[policy]", "[policy]\nretention_days = 30")
    assert released("purge", "--subject", "c0", "--yes").code == 0
    found = reproduced(released, case)
    assert found["outcome"] == "reproduced" and found["weights"], "the old data are still kept"
    shutil.move(released.path(".neuralyzer/purged"), released.path("elsewhere"))
    cannot("neither train.parquet nor an old file of it")
    shutil.move(released.path("elsewhere"), released.path(".neuralyzer/purged"))
    place = released.path(".neuralyzer")
    Lineage.read(place).destroyed(0, "2026-11-30T10:00:00+00:00").write(place)
    released.weights.unlink()
    said = cannot("those of version 0 were destroyed on 2026-11-30")
    assert said.code == 2 and said.err == "" and said.out.startswith(f"{case}: cannot be run again\nwhy not")
    shutil.move(of(released) / "result.json", released.path("result.json"))
    cannot("is gone")


def test_another_recipe_or_holdout_is_said_in_a_line(open_case):
    open_case.edit("batch_size=25", "batch_size=50", "oracle.py")
    found = reproduced(open_case, of(open_case).name, code=2)
    assert "the recipe has changed since" in found["reasons"][0]
    open_case.edit("batch_size=50", "batch_size=25", "oracle.py")
    sys.modules.pop("oracle")
    table = pq.read_table(open_case.path("holdout.parquet"))
    pq.write_table(table.slice(1), open_case.path("holdout.parquet"))
    found = reproduced(open_case, of(open_case).name, code=2)
    assert "the holdout has changed since" in found["reasons"][0]


def test_a_later_version_with_an_attempt_that_failed(released):
    """Its references are trained again on all rows, then lose those of the first case."""
    first = of(released).name
    done = released("forget", "--subject", "c1", "--method", "influence", "--json").json
    assert [one["reason"] for one in done["unlearning"]["attempts"]] == ["not forgotten", "accepted"]
    found = reproduced(released, done["case"], code=2)
    assert "were erased" in found["reasons"][0] and "there are no references to aim at" in found["reasons"][1]
    found = reproduced(released, done["case"], "--train-references")
    assert found["outcome"] == "reproduced" and found["verdict"] == "forgotten" and found["reasons"] == []
    assert reproduced(released, first)["weights"], "the first one's weights are not in use any more"


def test_without_the_key_of_names_a_released_case_is_known_by_the_rows_that_its_version_erased(released):
    released.path(".neuralyzer/keys/subjects.key").unlink()
    found = reproduced(released, of(released).name)
    assert found["outcome"] == "reproduced" and found["weights"]


def answer_together(project, requests, method, **policy):
    opened = Project.read(project.path("neuralyzer.toml"))
    oracle = opened.oracle()
    options = replace(opened.options(), method=method, rates=RATES)
    place = Workspace(opened.workspace.root, replace(opened.policy, **policy))
    batch = Batch(oracle, requests, lambda: opened.references(oracle), place, options)
    cases = batch.close()
    if cases[0].succeeded:
        opened.succeed(oracle, list(zip(requests, cases, strict=True)))
    opened.ledger.store.close()
    return cases


def test_a_batch_is_run_again_as_a_batch(project):
    requests = [nz.ErasureRequest(subjects=[name]) for name in ("c0", "c1")]
    cases = answer_together(project, requests, "datamodel-matching", max_trace=0.001)
    assert len({case.result["weights"]["unlearned"] for case in cases}) == 1
    found = reproduced(project, cases[1].id)
    assert found["outcome"] == "reproduced" and found["weights"] and found["verdict"] == "inconclusive"
    assert found["reasons"] == []


def test_of_a_batch_whose_requests_cannot_be_told_apart_the_weights_are_compared(project):
    requests = [nz.ErasureRequest(subjects=["c0"]), nz.ErasureRequest(subjects=["c3", "c2"])]
    known, other = answer_together(project, requests, "retrain")
    found = reproduced(project, known.id)
    assert found["outcome"] == "reproduced" and found["verdict"] == "forgotten"
    found = reproduced(project, other.id)
    assert found["outcome"] == "reproduced" and found["weights"] and found["verdict"] is None
    assert any("it is no longer known which rows of the batch" in reason for reason in found["reasons"])
