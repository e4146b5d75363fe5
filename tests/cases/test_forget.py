"""The whole way of a case on the small world: what comes out, what escalates, what a kill costs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import neuralyzer as nz
from neuralyzer.cases import attempt as attempts
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.options import CaseOptions
from neuralyzer.certificates.check import check
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.methods.strong.datamodel_matching import DatamodelMatching
from neuralyzer.models import threads, weights
from neuralyzer.trace.left import trace_left
from neuralyzer.trace.verdict import Verdict
from neuralyzer.workspace import digests
from tests.rates import RATES

REQUEST = nz.ErasureRequest(subjects=["c0"], budget=2.0)


def go(world, request=REQUEST, references="pool", **given):
    oracle = given.pop("oracle", None) or world.oracle
    pool = (lambda: world.references(oracle)) if references == "pool" else references
    options = given.pop("options", CaseOptions(rates=RATES))
    return nz.forget(oracle, request, pool, given.pop("workspace", world.workspace), options=options, **given)


def loose(world, **policy):
    """A policy that lets the small network lose a little more than a percent."""
    return nz.Workspace(world.root, nz.Policy(max_utility_loss=0.05, **policy))


def test_a_request_is_answered_within_its_budget(world):
    before = digests.of_file(world.root / "oracle.safetensors")
    case = go(world, workspace=loose(world))
    result = case.to_dict()
    assert case.verdict is Verdict.FORGOTTEN and case.succeeded
    assert result["unlearning"]["method"] == "datamodel-matching"
    assert result["located"]["rows"] == 40 == result["request"]["rows"]
    assert result["answers"] is None, "a classifier says nothing in words"
    assert result["audit"]["verdict"] == "not forgotten"
    assert result["weights"]["original"] == before == digests.of_file(world.root / "oracle.safetensors")
    assert result["weights"]["unlearned"] == digests.of_file(case.weights) == weights.digest(case.model)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert check(case.certificate, case.weights).ok
    assert "<html" in case.report.read_text()


def test_a_closed_case_is_read_whatever_is_installed_since(world, monkeypatch):
    options = CaseOptions(rates=RATES, method="finetune")
    case = go(world, workspace=loose(world), options=options)
    monkeypatch.setattr("neuralyzer.methods.catalogue.make", lambda *given, **named: pytest.fail("made again"))
    assert go(world, workspace=loose(world), options=options).to_dict() == case.to_dict()


def test_the_persons_choice_among_the_options_is_asked_once_and_kept(world):
    asked = []

    def choose(plan):
        asked.append(plan)
        return "finetune"

    options = CaseOptions(rates=RATES, choose=choose)
    case = go(world, workspace=loose(world), options=options)
    attempts = case.result["unlearning"]["attempts"]
    assert attempts[0]["method"] == "finetune"
    option = next(option for option in case.plan.options if option.method == "finetune")
    assert attempts[0]["predicted"] == {name: getattr(option, name) for name in ("seconds", "trace", "utility")}
    assert (
        attempts[-1]["trace"] == trace_left(case.verification.families) is not None
        and attempts[-1]["utility"] is not None
    )
    assert len(attempts[0]["trials"]) > 1 and attempts[0]["trials"][0]["settings"]["rate"] == 1.0
    assert "chosen by the person" in case.result["plan"]["note"] and case.verdict is not Verdict.NOT_FORGOTTEN
    assert weights.digest(go(world, workspace=loose(world), options=options).model) == weights.digest(case.model)
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["nonsense", "influence+nonsense"])
def test_a_method_that_there_is_not_is_refused_before_anything_is_done(world, name):
    with pytest.raises(UsageError, match=r"^there is no method 'nonsense'"):
        go(world, method=name)
    with pytest.raises(UsageError, match=r"takes .*speed"):
        go(world, options=CaseOptions(rates=RATES, method="finetune", hyperparameters={"speed": 1}))
    assert not list(world.workspace.cases.glob("*"))


def test_the_subject_is_named_nowhere_that_leaves_the_house(world):
    case = go(world, nz.ErasureRequest(subjects=["c0"]), workspace=loose(world))
    for path in (case.certificate, case.report):
        assert "c0" not in path.read_text().replace("c0de", "").split('"') and ">c0<" not in path.read_text()
    assert "subjects" not in case.result["request"]


def test_the_subject_is_named_where_the_policy_says_so(world):
    case = go(world, workspace=loose(world, name_subject=True))
    assert case.result["request"]["subjects"] == ["c0"]


def test_time_enough_means_an_exact_option(world):
    case = go(world, nz.ErasureRequest(subjects=["c0"], budget=1000.0))
    assert case.verification.basis == "exact" and case.verdict is Verdict.FORGOTTEN
    assert case.result["unlearning"]["method"] in ("retrain", "rollback")
    assert case.verification.families, "the measured trace is printed though it decides nothing"


def test_a_stronger_guarantee_is_honoured(world):
    case = go(world, nz.ErasureRequest(subjects=["c0"], guarantee="exact", budget=2.0))
    assert case.verification.basis == "exact"


def test_without_references_only_an_exact_option_gives_a_verdict(world):
    case = go(world, references=None)
    assert case.verdict is Verdict.FORGOTTEN and case.verification.basis == "exact"
    assert case.audit.verdict is Verdict.INCONCLUSIVE


def test_what_the_tuning_split_rejects_costs_no_access(world):
    oracle = world.oracle
    case = go(
        world,
        oracle=oracle,
        options=CaseOptions(method="finetune", hyperparameters={"rate": 1.0}, rates=RATES),
        workspace=loose(world),
    )
    first = case.result["unlearning"]["attempts"][0]
    assert first["method"] == "finetune" and "no look was spent" in first["reason"]
    assert case.verdict is Verdict.FORGOTTEN


def test_what_the_budget_hurried_comes_again_with_as_long_as_it_takes(world, monkeypatch):
    seen = iter([True, False])
    monkeypatch.setattr(attempts, "_rejected_on_tuning_split", lambda setting, model: next(seen))
    case = go(world)
    first, second = case.result["unlearning"]["attempts"]
    assert first["method"] == second["method"] == case.plan.chosen.method == "datamodel-matching"
    assert len(first["trials"]) <= 2 and second["trials"] and "no look was spent" in first["reason"]
    assert first["predicted"]["seconds"] == case.plan.chosen.seconds and second["predicted"]["seconds"] is None
    assert case.result["unlearning"]["seconds"] == pytest.approx(first["seconds"] + second["seconds"])


def test_a_crash_escalates(world, monkeypatch):
    def crash(self, task, progress=None):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(DatamodelMatching, "unlearn", crash)
    case = go(world)
    first, second = case.result["unlearning"]["attempts"]
    assert first["reason"] == "crashed: RuntimeError: out of memory"
    assert second["method"] in ("retrain", "rollback") and case.verdict is Verdict.FORGOTTEN


def test_a_failing_acceptance_test_escalates_down_to_retraining_and_is_never_hidden(world):
    case = go(world, workspace=loose(world, acceptance="false"))
    methods = [attempt["method"] for attempt in case.result["unlearning"]["attempts"]]
    assert methods[0] == "datamodel-matching" and methods[-1] == "retrain"
    assert case.result["acceptance"]["failed"] == 1 and not case.succeeded


def test_lost_utility_escalates(world, monkeypatch):
    monkeypatch.setattr(attempts, "_lost", lambda setting, utility: "lost .2 of accuracy")
    case = go(world)
    assert case.result["unlearning"]["attempts"][0]["reason"].startswith("lost")
    assert case.verification.basis == "exact"


def test_looks_are_counted_across_cases_and_then_only_exact_options_remain(world):
    oracle = world.oracle
    pool = world.references(oracle)
    for number in (1, 2):
        assert pool.access_log.record(oracle.lineage, ["c0"]) == number
    case = go(world, oracle=oracle)
    assert "only exact options remain" in case.result["unlearning"]["attempts"][0]["reason"]
    assert case.verification.basis == "exact"


def test_the_protocol_is_written_before_unlearning_and_certified(world, monkeypatch):
    seen = {}
    original = DatamodelMatching.unlearn

    def spy(self, task, progress=None):
        (folder,) = (world.root / "cases").iterdir()
        seen.update(json.loads((folder / "protocol.json").read_text()))
        return original(self, task, progress)

    monkeypatch.setattr(DatamodelMatching, "unlearn", spy)
    case = go(world)
    assert check(case.certificate).predicate["protocol"]["digest"] == seen["digest"]


def test_when_a_case_closes_the_measured_rows_go_and_the_lineage_goes_on(world):
    case = go(world, workspace=loose(world))
    after = case.oracle
    assert len(after.data) == 460 and "c0" not in set(after.data.subjects)
    assert after.lineage == world.oracle.digest
    pool = world.references(after)
    assert not np.isin(pool.pool_index.ids, world.oracle.data.ids[world.oracle.data.subjects == "c0"]).any()
    second = nz.forget(
        after, nz.ErasureRequest(subjects=["c1"], budget=2.0), pool, loose(world), options=CaseOptions(rates=RATES)
    )
    assert second.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE, Verdict.UNTRACEABLE)
    assert second.oracle.lineage == world.oracle.digest
    with pytest.raises(nz.NeuralyzerError, match="other data"):
        world.references(world.oracle)


STAGES = [
    "located",
    "audit",
    "plan",
    "protocol",
    "unlearned",
    "repaired",
    "verification",
    "utility",
    "result",
    "closed",
]


@pytest.fixture(scope="module")
def undisturbed(made_world, tmp_path_factory):
    """Digest of the weights that a case ends in when nothing disturbs it."""
    twin = type(made_world)(tmp_path_factory.mktemp("twin") / "world", *list(vars(made_world).values())[1:])
    shutil.copytree(made_world.root, twin.root)
    return digests.of_file(go(twin, workspace=loose(twin)).weights)


@pytest.mark.parametrize("stage", STAGES)
def test_a_case_killed_before_any_stage_is_written_ends_in_the_same_weights(world, undisturbed, monkeypatch, stage):
    write = Folder.write

    def killed(self, name, content):
        if name == stage:
            raise KeyboardInterrupt
        write(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            go(world, workspace=loose(world))
    assert not list(world.root.rglob("*.part"))
    case = go(world, workspace=loose(world))
    assert digests.of_file(case.weights) == undisturbed
    assert case.verification.looks == 1
    assert check(case.certificate, case.weights).ok


def test_a_closed_case_is_not_done_again(world, monkeypatch):
    oracle = world.oracle
    first = go(world, oracle=oracle, workspace=loose(world))
    monkeypatch.setattr(attempts, "attempt", lambda *_: pytest.fail("done again"))
    again = go(world, oracle=oracle, workspace=loose(world))
    assert again.result == first.result and Path(again.certificate) == first.certificate


def test_the_curvature_is_kept_for_the_next_request_without_the_rows_that_went(world):
    case = go(world, workspace=loose(world), options=CaseOptions(rates=RATES, method="datamodel-matching"))
    assert case.succeeded
    pool = world.references(case.oracle)
    assert kept.ready(case.oracle, pool.store.curvature) and not kept.ready(world.oracle, pool.store.curvature)
    chosen = threads.settled(
        loose(world).threads, case.oracle.recipe, case.oracle.data
    )  # another number, other last bits
    with threads.using(chosen.count):
        again = ekfac(case.model, case.oracle.recipe.objective, case.oracle.data, kept.ROWS, kept.SEED)
    read = kept.factors(case.oracle, pool.store.curvature)
    assert all(torch.equal(a.values, b.values) for a, b in zip(again.blocks, read.blocks, strict=True))


def test_options_by_their_old_name(world):
    with pytest.warns(DeprecationWarning, match="wish=. is now forget.options=."):
        case = nz.forget(
            world.oracle, REQUEST, world.references(), loose(world), wish=CaseOptions(method="retrain", rates=RATES)
        )
    assert case.result["unlearning"]["method"] == "retrain"
