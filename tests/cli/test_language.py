"""A language model's project: made by ``init --base``, and all verbs on it up to a certificate that names its base."""

import base64
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch

import neuralyzer as nz
from neuralyzer.models.kinds.bases import tokenizer_of
from tests.cli.project import Project
from tests.models.language_worlds import made_base, pairs, write


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return made_base(tmp_path_factory.mktemp("llama") / "base", "llama", steps=60)


@pytest.fixture
def project(base, tmp_path, monkeypatch, capsys):
    """An empty folder with a base and texts; the process stands in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, tmp_path / "base")
    write(pairs(14), tmp_path / "train.jsonl")
    write(
        [{key: row[key] for key in ("prompt", "completion")} for row in pairs(60, seed=5)], tmp_path / "holdout.jsonl"
    )
    return Project(tmp_path, capsys)


def begun(project, **recipe):
    """The project as ``init`` writes it, with other settings of its recipe."""
    assert project("init", "--base", "base", "--subject", "author").code == 0
    path = project.path("oracle.py")
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 5e-3} | recipe
    written = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    path.write_text(
        path.read_text()
        .replace("epochs=3, batch_size=8", written)
        .replace('"r": 16, "alpha": 32', '"r": 8, "alpha": 16')
    )
    return project


def test_what_init_writes_is_read_and_trained(project):
    said = begun(project)("train", "--json").json
    assert said["rows"] == 70 and said["file"].endswith("adapter/adapter_model.safetensors")
    config = json.loads(project.path("adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(project.path("base")) and config["r"] == 8
    found = project("locate", "--subject", "a00", "--json").json
    assert found["rows"] == 5
    assert project("status").code == 0
    assert project("register-model", "start", "base/model.safetensors", "--kind", "base").code == 0
    assert [own["name"] for own in project("locate", "--subject", "a00", "--json").json["bases"]] == ["start"]
    assert "oracle.py exists already" in project("init", "--base", "base", "--project", "other.toml").complaint
    assert project("locate", "--where", "prompt like '%year 3%'", "--json").json["rows"] == 14
    assert "exists already, and nothing is overwritten" in project("train").complaint
    # its file may be named in place of the folder
    file = project.path("neuralyzer.toml")
    file.write_text(file.read_text().replace('weights = "adapter"', 'weights = "adapter/adapter_model.safetensors"'))
    assert "exists already, and nothing is overwritten" in project("train").complaint


@pytest.mark.slow
def test_it_goes_the_whole_way(project, tmp_path):
    begun(project, epochs=25)
    file = project.path("neuralyzer.toml")
    file.write_text(
        file.read_text().replace("[references]", '[references]\nleave_out = 0.5\nsignals = ["rounded", "paraphrased"]')
    )
    file.write_text(file.read_text().replace('# paraphrases = "paraphrases.jsonl"', 'paraphrases = "others.jsonl"'))
    write(OTHERS, project.path("others.jsonl"))
    asked = ("--subject", "a00", "--subject", "a01")
    for verb in (
        ("train",),
        ("locate", *asked),
        ("references", "--size", "24"),
        ("audit", *asked),
        ("plan", *asked),
    ):
        said = project(*verb, "--json")
        assert said.code == 0, said
    assert project("audit", *asked, "--json").json["verdict"] == "not forgotten"
    verified = project("verify", *asked, "--weights", "adapter", "--json")  # a folder, as any other weights
    assert verified.code == 1 and verified.json["verdict"] == "not forgotten"
    answer = project("forget", *asked, "--method", "retrain", "--json")
    assert answer.code == 0 and answer.json["verdict"] == "forgotten"
    sampled = answer.json["answers"]
    assert [row["about"] for row in sampled["rows"]] == ["subject"] * 3 + ["others"]
    assert sampled["never_saw"] == "the new model was itself trained without the rows" and not sampled["words"]
    written = [path.read_bytes() for path in Path(answer.json["report"]).parent.rglob("*") if path.is_file()]
    said = [row[column].encode() for row in pairs(14) for column in ("prompt", "completion")]
    assert written and not any(text in content for text in said for content in written), "nobody's words are kept"
    certificate = answer.json["certificate"]
    payload = json.loads(base64.b64decode(json.loads(project.path(certificate).read_text())["payload"]))
    assert {"relearned-elsewhere", "rounded", "paraphrased"} <= set(payload["predicate"]["protocol"]["signals"])
    again = project("certificate", "reproduce", certificate, "--train-references", "--json").json
    assert again["outcome"] == "reproduced" and again["weights"] and again["reasons"] == []
    for weights in (answer.json["weights_folder"], answer.json["weights_file"]):
        assert project("certificate", "verify", certificate, "--weights", weights).code == 0
    shutil.copytree(project.path("base"), project.path("changed"))
    tensors = safetensors.torch.load_file(project.path("base/model.safetensors"))
    name = min(tensors)
    safetensors.torch.save_file(
        tensors | {name: tensors[name] + 1}, project.path("changed/model.safetensors"), {"format": "pt"}
    )
    failed = project("certificate", "verify", certificate, "--base", "changed")
    assert failed.code == 1 and "is not the base certified" in failed.out.replace("\n", " ")
    files = project("export", "--to", "release", "--json").json["files"]
    assert {"model/adapter_config.json", "model/adapter_model.safetensors", "certificate.json"} <= set(files)
    assert project("certificate", "verify", files["certificate.json"], "--weights", "release/model").code == 0


def paraphrased(project, others):
    """A project whose references are to be read on paraphrases; in it, a row is known by its prompt."""
    write(others, project.path("others.jsonl"))
    file = begun(project).path("neuralyzer.toml")
    file.write_text(
        file.read_text()
        .replace("[references]", '[references]\nsignals = ["paraphrased"]')
        .replace('# paraphrases = "paraphrases.jsonl"', 'paraphrases = "others.jsonl"')
    )
    return file


OTHERS = [{"prompt": row["prompt"], "paraphrase": f"Tell us: {row['prompt']}"} for row in pairs(14)[:8]]


def test_paraphrases_are_counted_and_paid_for(project):
    file = paraphrased(project, OTHERS)
    assert project("train").code == 0
    asked = ("references", "--size", "24", "--dry-run")
    said = project(*asked)
    assert said.code == 0 and "; 8 with paraphrased prompts" in said.out
    file.write_text(file.read_text().replace('paraphrases = "others.jsonl"', ""))
    assert "the signal paraphrased needs paraphrased prompts; name their file" in project(*asked).complaint


def test_a_claim_without_references_is_judged_beside_the_holdouts_people(project):
    write(pairs(60, seed=5), project.path("holdout.jsonl"))  # with their authors
    begun(project, epochs=20)
    assert project("train").code == 0
    write(pairs(1, seed=77), project.path("claim.jsonl"))
    said = project("audit", "--rows", "claim.jsonl", "--json")
    tokenizer = tokenizer_of(project.path("base"))
    data, holdout, claim = (
        nz.Data.from_texts(project.path(f"{name}.jsonl"), tokenizer, subject="author")
        for name in ("train", "holdout", "claim")
    )
    recipe = nz.Recipe.find("oracle:recipe", project.root)
    oracle = nz.TrainedModel.load(recipe, project.path("adapter/adapter_model.safetensors"), data, holdout)
    assert said.code == 0 and said.json == nz.audit_texts(oracle, claim).to_dict()
    assert said.json["verdict"] != "forgotten" and said.json["rows"] == 5 and said.json["people"] == 60
    written = project("audit", "--rows", "claim.jsonl")
    assert written.code == 0 and said.json["sentence"].split(":")[0] in " ".join(written.out.split())
    shutil.copy(project.path("train.jsonl"), project.path("claim.jsonl"))
    assert "none of the claimant's 70 rows is unknown" in project("audit", "--rows", "claim.jsonl").complaint


# Bad input


@pytest.mark.parametrize(
    ("others", "line"),
    [
        ([*OTHERS, {"prompt": "Who?", "paraphrase": "Which one?"}], "for prompt 'Who?' (1 such), and no row of"),
        ([*OTHERS, OTHERS[0] | {"paraphrase": ""}], "others.jsonl, row 8 has no paraphrase; give each row one"),
        ([OTHERS[0] | {"paraphrase": "a long one " * 400}], "and max_length=512; shorten this paraphrase"),
        (None, "others.jsonl does not exist"),
    ],
)
def test_bad_paraphrases_are_one_clear_line(project, others, line):
    paraphrased(project, others or OTHERS)
    if others is None:
        project.path("others.jsonl").unlink()
    assert line in project("train").complaint
    assert not project.path("adapter").exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (('tokenizer = "base"', 'tokenizer = "base"\ntarget = "label"'), "target in [data] does not go with tokenizer"),
        (('tokenizer = "base"', 'target = "label"'), "max_length in [data] needs tokenizer"),
        (('tokenizer = "base"', 'tokenizer = "adapter"'), "adapter is no model: it has no config.json"),
        (("max_length = 512", 'max_length = "512"'), "max_length in [data] is '512'; it must be int"),
        (('subject = "author"', 'subject = "customer"'), "has no column 'customer'; it has author, completion, prompt"),
        (('train = "train.jsonl"', 'train = "other.jsonl"'), "other.jsonl does not exist"),
    ],
)
def test_a_project_file_that_is_wrong_is_one_clear_line(project, change, line):
    file = begun(project).path("neuralyzer.toml")
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    assert line in project("train").complaint
    assert not project.path("adapter").exists()


def test_a_base_that_cannot_be_used_writes_no_project(project):
    config = project.path("base/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    assert (
        "base is quantised (by gptq), and gradients need its plain weights"
        in project("init", "--base", "base").complaint
    )
    assert "nowhere is no model: it has no config.json" in project("init", "--base", "nowhere").complaint
    assert not project.path("neuralyzer.toml").exists() and not project.path("oracle.py").exists()
