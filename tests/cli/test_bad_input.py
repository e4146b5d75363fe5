"""Every mistake that a person can make: one line on stderr, exit code 2, nothing half-written, the weights intact."""

import errno
import os
import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from neuralyzer.workspace import digests
from tests.cli.project import truncate

ASK = ("--subject", "c0")
INFLUENCE = (*ASK, "--method", "influence")


def refused(project, *words, says, weights=True):
    """The command's complaint, after checking that it left nothing behind."""
    before = digests.of_file(project.weights) if weights else None
    answer = project(*words)
    assert answer.out == "" and answer.complaint, answer
    assert says in answer.complaint
    assert not project.parts
    assert before is None or digests.of_file(project.weights) == before
    return answer.complaint


# The request


JUDGING = ["locate", "audit", "plan", "verify", "forget"]


@pytest.mark.parametrize("verb", JUDGING)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--subject", "nobody"], "subject 'nobody'"),
        (["--subject", "c0", "--subject", "nobody"], "subject 'nobody'"),
        (["--row", "r500"], "row 'r500'"),
        (["--class", "ten"], "class 'ten'"),
        (["--where", "p0 > 1000"], "empty"),
        (["--where", "label >= 0"], "all the data"),
        (["--where", "price > 3"], "price"),
        (["--where", "label = ("], "cannot be evaluated"),
        ([], "this one names none"),
    ],
    ids=["subject", "second-subject", "row", "class", "empty", "all", "column", "syntax", "nothing"],
)
def test_a_request_for_what_is_not_there(project, verb, words, says):
    refused(project, verb, *words, "--json", says=says)
    assert not project.cases


def test_all_subjects_together_are_all_the_data(project):
    words = [word for number in range(10) for word in ("--subject", f"c{number}")]
    refused(project, "forget", *words, says="all the data")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--guarantee", "strongest"], "'strongest' is none of exact, clean"),
        (["--budget", "0"], "must be above 0"),
        (["--budget", "soon"], "--budget"),
        (["--due", "tomorrow"], "2026-12-31"),
        (["--seed", "x"], "--seed"),
        (["--method", "hypnosis"], "no method 'hypnosis'"),
        (["--colour"], "--colour"),
        (["c0"], "c0"),
    ],
)
def test_an_option_that_means_nothing(project, words, says):
    refused(project, "forget", *ASK, *words, "--json", says=says)


@pytest.mark.parametrize("words", [["vergessen"], ["certificate"], ["certificate", "verify"], ["--nothing"]])
def test_a_command_that_is_not_there(project, words):
    refused(project, *words, says="See 'neuralyzer --help'")


def test_a_method_that_cannot_be_used(project):
    shutil.rmtree(project.pool)
    refused(project, "forget", *INFLUENCE, "--json", says="no references")


@pytest.mark.parametrize("verb", ["forget", "verify"])
@pytest.mark.parametrize("count", ["1", "3", "-8"])
def test_too_few_exact_references_are_refused_before_anything_is_trained(project, monkeypatch, verb, count):
    monkeypatch.setattr("neuralyzer.references.training.backends.train", lambda *_: pytest.fail("trained"))
    words = ("--class", "3", "--exact-references", count, "--json")
    refused(project, verb, *words, says=f"{count} exact references were asked for; it takes 6 or more, 8 do")
    assert not project.cases


@pytest.mark.parametrize("verb", ["forget", "verify"])
def test_exact_references_without_a_pool(project, monkeypatch, verb):
    monkeypatch.setattr("neuralyzer.references.training.backends.train", lambda *_: pytest.fail("trained"))
    shutil.rmtree(project.pool)
    refused(project, verb, *ASK, "--exact-references", "8", "--json", says="make references first")
    assert not project.cases


# The project file


def test_no_project_file(project):
    project.path("neuralyzer.toml").unlink()
    for verb in JUDGING:
        refused(project, verb, *ASK, says="neuralyzer init")
    for verb in ("train", "references"):
        refused(project, verb, says="neuralyzer init")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[policy]", "[policy", "is not readable TOML"),
        ("[policy]", "[policies]", "[policies]"),
        ("[model]", "model = 3\n[modal]", "[model]"),
        ("[policy]", "[policy]\nalfa = 0.1", "alfa"),
        ("[data]", "[data]\ntable = 'x'", "table"),
        ('weights = "oracle.safetensors"', "", "lacks weights in [model]"),
        ('target = "label"', "", "lacks target in [data]"),
        ("alpha = 0.05", "alpha = 0", "alpha"),
        ("alpha = 0.05", "alpha = 1.5", "alpha"),
        ("max_trace = 0.75", "max_trace = -1", "max_trace"),
        ("max_utility_loss = 0.05", "max_utility_loss = -0.5", "max_utility_loss"),
        ("alpha = 0.05", 'alpha = "little"', "alpha"),
        ("max_trace = 0.75", 'max_trace = "all"', "max_trace"),
        ("max_utility_loss = 0.05", 'max_utility_loss = "none"', "max_utility_loss"),
        ("# acceptance", "acceptance = 5 #", "acceptance"),
        ('recipe = "oracle:recipe"', "recipe = 5", "recipe"),
        ('train = "train.parquet"', "train = 5", "train"),
        ('target = "label"', "target = 5", "target"),
        ('target = "label"', 'target = "etikett"', "no column 'etikett'"),
        ('subject = "customer"', 'subject = "kunde"', "no column 'kunde'"),
        ('id = "row_id"', 'id = "nummer"', "no column 'nummer'"),
        ('subject = "customer"', 'subject = "customer"\nfeatures = 5', "features"),
        ('train = "train.parquet"', 'train = "train.txt"', "train.txt"),
        ('train = "train.parquet"', 'train = "nowhere.parquet"', "nowhere.parquet does not exist"),
        ('holdout = "holdout.parquet"', 'holdout = "nowhere.csv"', "nowhere.csv does not exist"),
    ],
)
def test_a_project_file_that_says_what_no_project_can_say(project, old, new, says):
    project.edit(old, new)
    refused(project, "audit", *ASK, "--json", says=says)


def test_a_project_file_that_is_no_text(project):
    project.path("neuralyzer.toml").write_bytes(b"\xff\xfe\x00")
    refused(project, "audit", *ASK, says="is not readable TOML")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("size = 32", 'size = "many"', "size"),
        ("size = 32", "size = 33", "odd"),
        ("leave_out = 0.4", "leave_out = 0.3", "another leave_out"),
        ('backend = "vectorised"', 'backend = "magic"', "backend"),
        ("[references]", '[references]\ngroups = ["age"]', "class"),
        ("[references]", "[references]\ngroups = 5", "groups"),
        ("[references]", '[references]\nsignals = ["smell"]', "there is no signal 'smell'"),
        ("[references]", '[references]\nsignals = ["rounded"]', "the signal rounded cannot read a torch module"),
    ],
)
def test_references_that_cannot_be_made(project, old, new, says):
    project.edit(old, new)
    refused(project, "references", says=says)


def test_references_that_cannot_grow_stay_as_they_are(project):
    before = project.states()
    refused(project, "references", "--size", "33", says="33 is odd")
    refused(project, "references", "--size", "34", says="cannot grow by 2")
    assert project.states() == before
    assert project("audit", *ASK).code == 0


# The recipe


RECIPE = "import neuralyzer as nz\nimport torch\n"


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("other", "", "module:attribute"),
        (":recipe", "", ":recipe"),
        ("nowhere:recipe", "", "no module 'nowhere'"),
        ("other:recipe", "", "has no recipe"),
        ("other:recipe", "recipe = 5", "is a int"),
        ("other:recipe", "import nothing_of_the_kind", "nothing_of_the_kind"),
        ("other:recipe", "from torch import nothing_of_the_kind", "nothing_of_the_kind"),
        ("other:recipe", "recipe = (", "recipe"),
        ("other:recipe", "raise RuntimeError('no licence')", "no licence"),
        ("other:recipe", "def recipe():\n    raise ValueError('no licence')", "no licence"),
        ("other:recipe", f"{RECIPE}recipe = nz.Recipe(lambda: 5)", "torch.nn.Module"),
        ("other:recipe", f"{RECIPE}recipe = nz.Recipe(lambda: torch.nn.Linear(64, 10), epochs=0)", "epochs"),
        (
            "other:recipe",
            f"{RECIPE}recipe = nz.Recipe(lambda: torch.nn.Linear(64, 10), command='train {{out}}')",
            "rows",
        ),
        ("other:recipe", f"{RECIPE}recipe = nz.Recipe(lambda: torch.nn.Linear(64, 10), init='no.safetensors')", "no.s"),
    ],
)
def test_a_recipe_that_cannot_be_had(project, name, code, says):
    project.path("other.py").write_text(code)
    project.edit("oracle:recipe", name)
    refused(project, "audit", *ASK, "--json", says=says)


# Data


def rewrite(path, change):
    pq.write_table(change(pq.read_table(path)), path)


def test_data_that_changed_since_training(project):
    rewrite(project.path("train.parquet"), lambda table: table.slice(1))
    for verb in ("audit", "plan", "verify", "forget"):
        refused(project, verb, *ASK, "--json", says="changed since training")
    refused(project, "references", says="changed since training")


def test_one_pixel_is_a_change(project):
    def change(table):
        column = table["p20"].to_numpy().copy()
        column[7] += 0.25
        return table.set_column(table.column_names.index("p20"), "p20", [column])

    rewrite(project.path("train.parquet"), change)
    refused(project, "forget", *ASK, says="changed since training")


def sharing_an_id(table):
    ids = table["row_id"].to_pylist()
    return table.set_column(table.column_names.index("row_id"), "row_id", [["r0", *ids[1:]]])


@pytest.mark.parametrize(
    ("change", "says"),
    [(lambda table: table.slice(0, 150), "150 rows"), (sharing_an_id, "row id 'r0'")],
    ids=["small", "shared"],
)
def test_a_holdout_that_will_not_do(project, change, says):
    rewrite(project.path("holdout.parquet"), change)
    for verb in ("audit", "plan", "verify", "forget"):
        refused(project, verb, *ASK, "--json", says=says)
    refused(project, "references", says=says)


def test_training_refuses_such_a_holdout_before_it_trains(files):
    files("init", "--id", "row_id")
    rewrite(files.path("holdout.parquet"), lambda table: table.slice(0, 150))
    refused(files, "train", says="150 rows", weights=False)
    assert not files.weights.exists()


def test_a_holdout_of_training_rows(project):
    """Copies under other ids are dropped, and then too few are left."""
    table = pq.read_table(project.path("train.parquet"))
    ids = pc.binary_join_element_wise("copy", table["row_id"], "-")
    copies = table.set_column(table.column_names.index("row_id"), "row_id", ids)
    pq.write_table(copies, project.path("holdout.parquet"))
    refused(project, "audit", *ASK, says="0 rows")


def test_without_a_holdout_only_exact_options_give_a_verdict(project):
    project.edit("holdout =", "# holdout =")
    audit = project("audit", *ASK, "--json")
    assert audit.code == 0 and audit.json["verdict"] == "inconclusive"
    verified = project("verify", *ASK, "--json")
    assert verified.code == 1 and verified.json["verdict"] == "inconclusive"
    assert verified.json["settled_by"] == ["--method retrain"]
    shown = project("verify", *ASK).out
    assert "settle it    neuralyzer forget --subject c0 --method retrain   (retrains: exact" in shown
    assert project("locate", *ASK, "--json").json["rows"] == 40
    refused(project, "references", says="no holdout")
    refused(project, "forget", *INFLUENCE, "--json", says="no references")
    result = project("forget", *ASK, "--json")
    assert result.code == 0
    assert result.json["verification"]["verdict"] == "forgotten" and result.json["verification"]["basis"] == "exact"
    assert result.json["utility"]["holdout_accuracy"]["unlearned"] is None


def test_without_a_holdout_a_person_can_read_the_answer(project):
    project.edit("holdout =", "# holdout =")
    answer = project("forget", *ASK)
    assert answer.code == 0 and "FORGOTTEN" in answer.out


# Weights


def state_of(project):
    return safetensors.torch.load_file(project.weights)


def poisoned(value):
    def poison(project):
        state = state_of(project)
        state["0.weight"][0, 0] = value
        safetensors.torch.save_file(state, project.weights)

    return poison


def other_shape(project):
    state = state_of(project)
    safetensors.torch.save_file(state | {"2.bias": torch.zeros(7)}, project.weights)


def without_a_tensor(project):
    state = state_of(project)
    del state["2.bias"]
    safetensors.torch.save_file(state, project.weights)


def a_pickle(project):
    torch.save(state_of(project), project.path("oracle.pt"))
    project.edit("oracle.safetensors", "oracle.pt")


WEIGHTS = [
    (lambda project: truncate(project.weights), "truncated"),
    (lambda project: truncate(project.weights, 0), "truncated"),
    (lambda project: project.weights.write_text("not weights"), "not a whole safetensors file"),
    (poisoned(float("nan")), "NaN or infinite values in 0.weight"),
    (poisoned(float("inf")), "NaN or infinite values in 0.weight"),
    (other_shape, "2.bias is (7,), the recipe has (10,)"),
    (without_a_tensor, "2.bias is missing"),
    (a_pickle, "is a pickle"),
]


@pytest.mark.parametrize(("damage", "says"), WEIGHTS)
@pytest.mark.parametrize("verb", ["audit", "plan", "verify", "forget"])
def test_weights_that_will_not_do(project, verb, damage, says):
    damage(project)
    refused(project, verb, *ASK, "--json", says=says)


@pytest.mark.parametrize(("damage", "says"), WEIGHTS[:-1])
def test_weights_under_test_that_will_not_do(project, damage, says):
    good = project.weights.read_bytes()
    damage(project)
    project.weights.rename(project.path("other.safetensors"))
    project.weights.write_bytes(good)
    refused(project, "verify", *ASK, "--weights", "other.safetensors", "--json", says=says)


def test_weights_that_are_not_there(project):
    refused(project, "verify", *ASK, "--weights", "nowhere.safetensors", says="nowhere.safetensors does not exist")
    project.weights.unlink()
    refused(project, "audit", *ASK, says="neuralyzer train", weights=False)


# Files cut short


@pytest.mark.parametrize(
    "name",
    [
        "train.parquet",
        "holdout.parquet",
        ".neuralyzer/trained.json",
        ".neuralyzer/runs/train/run.json",
        ".neuralyzer/datasets/train-*/manifest.parquet",
        ".neuralyzer/datasets/train-*/dataset.json",
        ".neuralyzer/references/*/pool.json",
        ".neuralyzer/references/*/rows.parquet",
        ".neuralyzer/references/*/keep.npy",
        ".neuralyzer/references/*/spread.npy",
        ".neuralyzer/references/*/signals/margin.rows.f32",
        ".neuralyzer/references/*/signals/relearned.holdout.f32",
        ".neuralyzer/references/*/signals/outputs.rows.f32",
        ".neuralyzer/references/*/measured/0002.json",
    ],
)
@pytest.mark.parametrize("share", [0.6, 0.0], ids=["cut", "empty"])
def test_a_file_cut_short(project, name, share):
    (path,) = project.root.glob(name)
    truncate(path, share)
    refused(project, "forget", *INFLUENCE, "--json", says=path.name)


@pytest.mark.parametrize("name", ["rows.parquet", "keep.npy", "spread.npy", "signals/fisher.rows.f32"])
def test_a_pool_that_lacks_a_file(project, name):
    (project.pool / name).unlink()
    refused(project, "audit", *ASK, "--json", says=name.rpartition("/")[2])


def test_a_pool_that_is_not_finished(project):
    project.edit('"finished": true', '"finished": false', str(project.pool / "pool.json"))
    refused(project, "audit", *ASK, "--json", says="run 'neuralyzer references' again")


def test_a_history_cut_short_gives_no_exact_answer(project):
    """Fewer steps are known than the run took: replaying those would be no draw of retraining."""
    truncate(project.path(".neuralyzer/runs/train/order.bin"))
    answer = project("forget", *ASK, "--method", "rollback", "--json")
    assert answer.code == 2 or answer.json["unlearning"]["method"] != "rollback"


# Full disk


class Full:
    """A system call on a disk that has room for a few writes more."""

    def __init__(self, call, room):
        self.call, self.room = call, room

    def __call__(self, *arguments):
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.call(*arguments)


@pytest.mark.parametrize(("call", "room"), [("replace", 0), ("fsync", 8), ("replace", 22)])
def test_a_disk_that_fills_up_while_forgetting(project, call, room):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, Full(getattr(os, call), room))
        refused(project, "forget", *INFLUENCE, "--json", says="No space left on device")
    if room == 22:
        again = project("forget", *INFLUENCE, "--json")
        assert again.code == 0 and again.json["verification"]["looks"] == 1
        assert digests.of_file(project.weights) == again.json["weights"]["original"]


@pytest.mark.parametrize("room", [8, 12])
def test_a_disk_that_fills_up_while_training(files, room):
    files("init", "--id", "row_id")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", Full(os.replace, room))
        refused(files, "train", says="No space left on device", weights=False)
    assert not files.weights.exists()
    again = files("train", "--json")
    assert again.code == 0, "it can be called again"
    assert again.json["weights"] == digests.of_file(files.weights)


def test_a_disk_that_fills_up_while_references_are_made(project):
    shutil.rmtree(project.path(".neuralyzer/references"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", Full(os.replace, 20))
        refused(project, "references", "--size", "32", "--json", says="No space left on device")
    refused(project, "audit", *ASK, "--json", says="not finished")


def test_a_disk_that_is_full_at_once(files, monkeypatch):
    monkeypatch.setattr(os, "replace", Full(os.replace, 0))
    refused(files, "init", says="No space left on device", weights=False)
    assert not files.path("neuralyzer.toml").exists()


# Acceptance tests


def test_an_acceptance_command_that_cannot_be_run(project):
    project.edit('# acceptance = "pytest tests/model"', 'acceptance = "no-such-command --fast"')
    refused(project, "forget", *INFLUENCE, "--json", says="'no-such-command --fast' cannot be run")
    project.edit("no-such-command --fast", "true")
    mended = project("forget", *INFLUENCE, "--json")
    assert mended.code == 0 and mended.json["acceptance"]["passed"] == 1
    assert mended.json["verification"]["looks"] == 1, "the look that was taken is not paid for again"


# Anything at all


def test_an_error_has_one_line_however_long_its_text(project):
    complaint = refused(project, "audit", "--where", "label\n>\n(", says="cannot be evaluated")
    assert "\n" not in complaint


def test_numbers_that_are_no_numbers(project):
    state = state_of(project)
    state["0.weight"] += 1e38
    safetensors.torch.save_file(state, project.weights)
    answer = project("audit", *ASK, "--json")
    assert answer.code in (0, 2) and (answer.code == 2 or np.isfinite(answer.json["p_value"]))
