"""Each verb's good path: what it prints, as JSON and for a person, and its exit code."""

import json
import math
import stat
import tomllib

import numpy as np
import pytest
import safetensors.torch

import neuralyzer as nz
from neuralyzer.methods import catalogue
from neuralyzer.signals.catalogue import signals
from neuralyzer.workspace import digests
from tests.conftest import small_recipe

VERDICTS = {"forgotten", "not forgotten", "untraceable", "inconclusive"}
FAMILIES = {"retraining", "attack", "relearning", "accuracy", "information"}


# init, train, references


def test_init_writes_a_project_file_that_can_be_read(files):
    answer = files("init", "--train", "rows.csv", "--id", "row_id", "--target", "y", "--subject", "who", "--json")
    assert answer.code == 0
    assert answer.json == {"project": str(files.path("neuralyzer.toml")), "workspace": str(files.path(".neuralyzer"))}
    tables = tomllib.loads(files.path("neuralyzer.toml").read_text())
    assert tables["data"] == {
        "train": "rows.csv", "holdout": "holdout.parquet", "target": "y", "subject": "who", "id": "row_id",
    }  # fmt: skip
    assert tables["model"] == {"recipe": "oracle:recipe", "weights": "oracle.safetensors"}
    assert nz.Policy(**tables["policy"]) == nz.Policy()
    assert files.path(".neuralyzer/.gitignore").read_text() == "*\n"


def test_init_without_an_id_leaves_rows_numbered(files):
    assert files("init").code == 0
    assert "id" not in tomllib.loads(files.path("neuralyzer.toml").read_text())["data"]


def test_init_overwrites_nothing(project):
    before = project.states()
    assert "exists already" in project("init").complaint
    assert project.states() == before


def test_train_makes_the_recipes_model_and_records_it(files):
    files("init", "--id", "row_id")
    answer = files("train", "--every", "300", "--json")
    facts = answer.json
    assert answer.code == 0
    assert facts["rows"] == 500 and facts["seconds"] > 0 and facts["holdout_dropped"] == 0
    assert facts["weights"] == digests.of_file(files.weights)
    assert facts["recipe"] == small_recipe().digest
    data = nz.Data.from_parquet(files.path("train.parquet"), target="label", subject="customer", id="row_id")
    holdout = nz.Data.from_parquet(files.path("holdout.parquet"), target="label", subject="customer", id="row_id")
    twin = nz.TrainedModel.fit(small_recipe(), data, holdout)
    assert facts["weights"] == twin.digest and facts["data"] == data.digest
    right = (twin.model(twin.holdout.x).argmax(1) == twin.holdout.y).float().mean()
    assert math.isclose(facts["utility"], float(right), abs_tol=1e-6)
    steps = sorted(int(path.name.split(".")[0]) for path in files.path(".neuralyzer/runs/train/checkpoints").iterdir())
    assert set(steps) == {0, 300, 600, 800}


def test_train_overwrites_nothing(project):
    before = project.states()
    assert "nothing is overwritten" in project("train").complaint
    assert project.states() == before


def test_references_are_made_once_and_grow(project):
    before = project.states()
    answer = project("references", "--size", "32", "--json")
    facts = answer.json
    assert answer.code == 0 and project.states() == before
    assert facts["size"] == 32 and facts["tuning"] == facts["judging"] == 16
    assert facts["folder"] == str(project.pool) and facts["backend"] == "vectorised: asked for"
    assert abs(facts["left_out_share"] - 0.4) < 0.1
    grown = project("references", "--size", "40", "--json").json
    assert grown["size"] == 40 and grown["tuning"] == grown["judging"] == 20 and grown["digest"] != facts["digest"]
    assert not list(project.pool.rglob("members/*.safetensors")), "weights are destroyed once measured"


# locate, audit, plan


def test_locate(project):
    answer = project("locate", "--subject", "c0", "--json")
    assert answer.code == 0 and answer.json["rows"] == 40
    (dataset,) = answer.json["datasets"]
    assert dataset["name"] == "train" and dataset["rows"] == 40 and dataset["role"] == "training"
    (run,) = answer.json["runs"]
    assert run["weights"] == digests.of_file(project.weights) and run["finished"]
    assert answer.json["checkpoints"]["clean"] + answer.json["checkpoints"]["dirty"] == 5
    assert answer.json["seconds"] < 1


ROWS = {"r0", "r1", "r2"}


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["--subject", "c3"], lambda data: data.subjects == "c3"),
        (["--subject", "c3", "--subject", "c4"], lambda data: np.isin(data.subjects, ["c3", "c4"])),
        (["--row", "r0", "--row", "r1", "--row", "r2"], lambda data: np.isin(data.ids, list(ROWS))),
        (["--class", "7"], lambda data: data.y.numpy() == 7),
        (
            ["--where", "p20 < 0.5 and customer = 'c3'"],
            lambda data: (data.x.numpy()[:, 20] < 0.5) & (data.subjects == "c3"),
        ),
        (["--where", "label between 3 and 4"], lambda data: np.isin(data.y.numpy(), [3, 4])),
        (["--row", "r0", "--class", "7"], lambda data: (data.y.numpy() == 7) | (data.ids == "r0")),
    ],
)
def test_a_request_means_the_same_rows_to_every_verb(project, words, chosen):
    data = nz.Data.from_parquet(project.path("train.parquet"), target="label", subject="customer", id="row_id")
    rows = int(chosen(data).sum())
    assert 0 < rows < 500
    assert project("locate", *words, "--json").json["rows"] == rows
    audited = project("audit", *words, "--json")
    assert audited.code == 0 and audited.json["rows"] == rows and audited.json["verdict"] in VERDICTS


def test_audit(project):
    before = project.states()
    answer = project("audit", "--subject", "c0", "--json")
    audit = answer.json
    assert answer.code == 0, "a finished audit exits 0 whatever it found"
    assert audit["verdict"] == "not forgotten" and audit["p_value"] < 0.05 and audit["rows"] == 40
    assert {row["family"] for row in audit["families"]} == FAMILIES
    for row in audit["families"]:
        assert set(row) == {"family", "signal", "trace", "low", "high", "p_value", "detectable", "counts"}
        assert row["low"] < row["trace"] < row["high"] and row["trace"] > 0.5
    assert audit["detectable"] == max(row["detectable"] for row in audit["families"] if row["counts"])
    control = audit["positive_control"]
    assert control["passed"] and control["groups"] == 10 and control["found"] <= control["promised"]
    assert audit["protocol"]["counting"] == [row["signal"] for row in audit["families"] if row["counts"]]
    assert project.states() == before, "an audit writes nothing"
    assert not project.pool.joinpath("looks.json").exists(), "and takes no look at the evaluation split"


def test_plan(project):
    before = project.states()
    answer = project("plan", "--subject", "c0", "--budget", "1e-6", "--json")
    plan = answer.json
    assert answer.code == 0 and plan["budget"] == 1e-6
    assert [option["method"] for option in plan["options"] if option["chosen"]] == ["retrain"]
    assert {option["method"] for option in plan["options"]} == set(catalogue.names())
    for option in plan["options"]:
        assert set(option) == {
            "method", "guarantee", "seconds", "trace", "utility", "feasible", "reason", "chosen", "searched", "runs",
            "hurried",
        }  # fmt: skip
        assert not option["feasible"]
        if option["seconds"] is None:  # cannot work on this model, and its reason says why
            assert (
                option["method"] in ("ct", "sisa", "adopt-reference", "newton", "rewind", "npo", "task-vector")
                and option["reason"]
            )
        else:
            assert "over the budget" in option["reason"] and option["seconds"] > 1e-6
    assert "no option satisfies" in plan["note"]
    assert project.states() == before


def test_plan_honours_a_guarantee(project):
    plan = project("plan", "--class", "7", "--row", "r0", "--guarantee", "exact", "--json").json
    assert {option["method"] for option in plan["options"] if option["feasible"]} == {"retrain", "rollback"}


# forget, verify: their lineage is tested in test_lineage.py


KEYS = {
    "case", "request", "located", "references", "audit", "plan", "unlearning", "verification", "acceptance", "utility",
    "weights", "certificate", "report",
}  # fmt: skip


def test_forget(answered):
    (case,) = answered.cases
    before = answered.states()
    answer = answered("forget", "--subject", "c0", "--method", "influence", "--json")
    assert answer.code == 0 and answered.states() == before, "an answered request is answered again, not done again"
    result = answer.json
    assert result == json.loads((case / "result.json").read_text())
    assert set(result) >= KEYS
    assert result["case"] == case.name
    assert result["located"]["rows"] == result["request"]["rows"] == 40
    assert result["references"]["size"] == 32
    assert result["references"]["tuning"] == result["references"]["judging"] == 16
    assert set(result["audit"]) >= {"verdict", "p_value", "detectable", "families"}
    for option in result["plan"]["options"]:
        assert set(option) >= {"method", "guarantee", "seconds", "feasible", "reason", "chosen"}
    unlearning = result["unlearning"]
    assert set(unlearning) >= {"method", "seconds", "retrain_seconds", "attempts"}
    assert unlearning["method"] == "influence" and unlearning["attempts"][0]["method"] == "influence"
    verification = result["verification"]
    assert set(verification) >= {"verdict", "basis", "p_value", "alpha", "detectable", "self_check", "families"}
    assert set(verification["self_check"]) >= {"alarms", "groups"} and verification["alpha"] == 0.05
    assert verification["verdict"] == "forgotten" and verification["basis"] == "statistical"
    assert {row["family"] for row in verification["families"]} == FAMILIES
    for row in verification["families"]:
        assert set(row) >= {
            "family", "signal", "original", "unlearned", "low", "high", "detectable", "counts", "retrained",
        }  # fmt: skip
    assert result["acceptance"] is None, "the project names no acceptance command"
    assert set(result["utility"]["holdout_accuracy"]) == {"original", "unlearned", "retrained"}
    assert result["weights"]["original"] == digests.of_file(answered.weights)
    (weights,) = case.glob("attempts/*/weights.safetensors")
    assert result["weights"]["unlearned"] == digests.of_file(weights) != result["weights"]["original"]
    assert result["certificate"] == str(case / "certificate.json") and result["report"] == str(case / "report.html")


def test_keys_are_for_the_owner_alone(answered):
    folder = answered.path(".neuralyzer/keys")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("signing.pem", "subjects.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_the_subject_is_named_in_nothing_that_leaves_the_house(answered):
    (case,) = answered.cases
    for name in ("certificate.json", "report.html", "result.json"):
        assert '"c0"' not in (case / name).read_text() and ">c0<" not in (case / name).read_text()
    assert '"c0"' not in answered.path(".neuralyzer/lineage.json").read_text()


def test_verify_the_original_and_a_retrained_model(project):
    original = project("verify", "--subject", "c0", "--json")
    assert original.code == 1 and original.json["verdict"] == "not forgotten"
    data = nz.Data.from_parquet(project.path("train.parquet"), target="label", subject="customer", id="row_id")
    module = nz.TrainedModel.fit(small_recipe(seed=77), data.select(data.subjects != "c0")).model
    safetensors.torch.save_file(dict(module.state_dict()), project.path("elsewhere.safetensors"))
    before = project.states()
    found = project("verify", "--subject", "c0", "--weights", "elsewhere.safetensors", "--json")
    assert found.json["verdict"] == "forgotten" and found.code == 0
    assert project.states() == before, "verifying writes nothing"


def test_verify_by_exact_references(project, tmp_path, monkeypatch):
    """They are made for the verdict in a folder of their own, and nothing is left of them."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = nz.Data.from_parquet(project.path("train.parquet"), target="label", subject="customer", id="row_id")
    module = nz.TrainedModel.fit(small_recipe(seed=77), data.select(data.labels != "3")).model
    safetensors.torch.save_file(dict(module.state_dict()), project.path("elsewhere.safetensors"))
    before = project.states()
    asked = ("verify", "--class", "3", "--weights", "elsewhere.safetensors", "--json")
    pool = project(*asked)
    assert pool.code == 1 and pool.json["verdict"] == "inconclusive" and pool.json["judges"] == "pool"
    assert "the pool cannot answer" in pool.json["sentence"]
    exact = project(*asked, "--exact-references", "8")
    assert exact.code == 0 and exact.json["verdict"] == "forgotten" and exact.json["judges"] == "exact references"
    original = project("verify", "--class", "3", "--exact-references", "6", "--json")
    assert original.code == 1 and original.json["verdict"] == "not forgotten"
    assert project.states() == before and not list((tmp_path / "temporary").iterdir())


# methods, signals


def test_methods(project):
    answer = project("methods", "--json")
    assert answer.code == 0 and [row["name"] for row in answer.json] == catalogue.names()
    influence = next(row for row in answer.json if row["name"] == "influence")
    assert influence["guarantee"] == "strong" and "references" in influence["needs"]
    assert influence["hyperparameters"]["damping"] is None


def test_signals(project):
    answer = project("signals", "--json")
    assert answer.code == 0 and [row["name"] for row in answer.json] == list(signals())
    assert {row["family"] for row in answer.json} == FAMILIES


# For a person


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["locate", "--subject", "c0"], "40 training rows found"),
        (["audit", "--subject", "c0"], "The model holds"),
        (["plan", "--subject", "c0", "--guarantee", "exact"], "retrain"),
        (["methods"], "one Newton step"),
        (["signals"], "relearned"),
        (["references", "--size", "32"], "32 references measured"),
        (["--version"], f"neuralyzer {nz.__version__}"),
        (["certificate", "verify", "--help"], "Example: neuralyzer certificate verify"),
    ],
)
def test_what_a_person_reads(project, words, said):
    answer = project(*words)
    assert answer.code == 0 and said in answer.out and "Traceback" not in answer.err


@pytest.mark.parametrize("verb", ["audit", "locate", "plan"])
def test_another_project_file_from_elsewhere(project, monkeypatch, tmp_path, verb):
    project.path("neuralyzer.toml").rename(project.path("mine.toml"))
    monkeypatch.chdir(tmp_path)
    answer = project(verb, "--subject", "c0", "--project", project.path("mine.toml"), "--json")
    assert answer.code == 0 and answer.json


LEDGER = [
    "check",
    "checkpoint",
    "countersign",
    "consistency",
    "dated",
    "show",
    "prove",
    "unlink",
    "auditor-key",
    "spot-check",
]
VERBS = [
    "demo", "init", "train", "references", "locate", "audit", "influence", "plan", "forget", "verify", "methods",
    "signals",
]  # fmt: skip


@pytest.mark.parametrize(
    "verb", [*VERBS, "certificate verify", "certificate reproduce", *(f"ledger {name}" for name in LEDGER)]
)
def test_every_verb_has_json_and_an_example(files, verb):
    answer = files(*verb.split(), "--help")
    assert answer.code == 0 and "--json" in answer.out and f"Example: neuralyzer {verb}" in " ".join(answer.out.split())


def test_help_names_every_verb(files):
    for words in ([], ["--help"]):
        answer = files(*words)
        assert answer.code == 0 and all(verb in answer.out for verb in [*VERBS, "certificate", "ledger"])


def test_a_plan_shows_what_is_feasible_and_the_rest_when_asked(project):
    known = project("plan", "--subject", "c3", "--json").json["options"]
    out = {None: project("plan", "--subject", "c3").out, "--all": project("plan", "--subject", "c3", "--all").out}
    feasible = [option for option in known if option["feasible"] or option["chosen"]]
    assert 0 < len(feasible) < len(known)
    assert f"{len(known) - len(feasible)} more options are not feasible here" in " ".join(out[None].split())
    assert "not feasible here" not in out["--all"] and len(out["--all"]) > 2 * len(out[None])
    assert all(option["method"][:8] in out[None] for option in feasible)  # long names are broken
    assert max(map(len, out[None].splitlines())) <= 80
