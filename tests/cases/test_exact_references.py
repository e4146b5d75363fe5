"""Requests that the pool cannot answer: inconclusive, unless exact references judge; these never outlive the verdict."""

from dataclasses import replace

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.options import CaseOptions
from neuralyzer.certificates.check import check
from neuralyzer.errors import UsageError
from neuralyzer.methods.strong.datamodel_matching import DatamodelMatching
from neuralyzer.methods.strong.influence import Influence
from neuralyzer.models import training
from neuralyzer.references.training import exact
from neuralyzer.trace import screen
from neuralyzer.trace.verdict import Verdict
from tests.cases.test_forget import go, loose
from tests.conftest import small_recipe
from tests.rates import RATES

ALIKE = "the requested subjects stand in for each other"
REQUEST = nz.ErasureRequest(subjects=["c0"], budget=2.0)
BY_EXACT = CaseOptions(rates=RATES, exact_references=6)


@pytest.fixture
def unanswerable(monkeypatch):
    """A pool that cannot answer for c0."""
    monkeypatch.setattr(screen, "obstacle", lambda tables, signals, parts: ALIKE)


@pytest.fixture
def forgetting(monkeypatch):
    """An approximate method that in truth forgets everything: it gives the model that retraining would give."""

    def unlearn(self, task, progress=None):
        return nz.TrainedModel.fit(small_recipe(seed=77), task.retain).model

    for method in (DatamodelMatching, Influence):  # a plan reckons with the case before
        monkeypatch.setattr(method, "unlearn", unlearn)


def folders(world):
    return [path for path in world.root.rglob("exact") if path.is_dir()]


def test_a_class_that_the_pool_has_not_as_a_group(world, monkeypatch):
    """Every member that lacks one owner's rows of the class knows the class from the others."""
    asked = nz.ErasureRequest(classes=["3"], budget=2.0)
    policy = nz.Workspace(world.root, nz.Policy(max_utility_loss=0.3))
    case = go(world, asked, workspace=policy)
    assert case.verdict is Verdict.INCONCLUSIVE and not case.succeeded
    assert case.result["unlearning"]["method"] == "datamodel-matching" and case.verification.judges == "pool"
    sentence = case.verification.sentence
    assert "the pool cannot answer this request" in sentence and "exact references could judge" in sentence
    chosen = case.result["plan"]["options"][0]
    assert "8 exact references would judge it, and retraining costs 1/8 of them" in chosen["reason"]
    # What the pool would have called forgotten is nowhere near a model without the class.
    assert case.verification.p_value > 0.05
    case = go(world, asked, workspace=policy, options=replace(BY_EXACT, choose=lambda plan: "datamodel-matching"))
    first, again, last = case.result["unlearning"]["attempts"]
    assert (first["method"], first["verdict"]) == ("datamodel-matching", "not forgotten")
    assert again["method"] == first["method"] and "opened twice" in again["reason"]
    assert last["verdict"] == "forgotten" and case.verification.basis == "exact" and case.succeeded
    assert folders(world) == []


def test_without_the_class_a_model_is_not_rejected_by_exact_references(world, tmp_path):
    asked = nz.ErasureRequest(classes=["3"])
    oracle = world.oracle
    references = world.references(oracle)
    judges = exact.train_exact(oracle, asked.positions(oracle.data), tmp_path / "judges")
    rest = oracle.data.select(oracle.data.y.numpy() != 3)
    retrained = nz.TrainedModel.fit(small_recipe(seed=77), rest).model
    found = nz.verify(retrained, oracle, asked, references, exact_references=judges)
    assert found.verdict in (Verdict.FORGOTTEN, Verdict.INCONCLUSIVE) and found.p_value > 0.05
    assert found.judges == "exact references" and "8 models trained on exactly the retained rows" in found.sentence
    assert all(abs(row["unlearned"]) < 0.5 < row["original"] for row in found.families)
    assert found.self_check.groups == 8
    accused = nz.verify(oracle.model, oracle, asked, references, exact_references=judges)
    assert accused.verdict is Verdict.NOT_FORGOTTEN
    # To the pool the retrained model reads as one that knows far too little.
    pool = nz.verify(retrained, oracle, asked, references)
    assert pool.verdict is Verdict.INCONCLUSIVE and min(row["unlearned"] for row in pool.families) < -1


def test_exact_references_give_a_verdict_where_the_pool_cannot(world, unanswerable, forgetting):
    case = go(world, REQUEST, workspace=loose(world))
    assert case.verdict is Verdict.INCONCLUSIVE and ALIKE in case.verification.sentence
    judged = go(world, REQUEST, workspace=loose(world), options=BY_EXACT)
    assert judged.id != case.id, "another case, since other models judge"
    assert judged.verification.judges == "exact references" and judged.verification.basis == "statistical"
    assert judged.verdict is Verdict.FORGOTTEN and judged.succeeded
    assert "6 models trained on exactly the retained rows" in judged.verification.sentence
    assert judged.result["verification"]["judges"] == "exact references"
    checked = check(judged.certificate, judged.weights)
    assert checked.ok and {"margin", "lira-online"} <= set(checked.predicate["attacks_run"])
    held = {own["name"]: own["note"] for own in checked.predicate["references"]}
    assert "judged in the pool's place" in held["6 exact references"]
    assert "but for scores by member" in held["32 reference models"]
    assert folders(world) == []
    assert judged.verification.looks == 2, "its members tell the gap, so the evaluation split is opened all the same"


def test_the_tuning_split_does_not_reject_where_the_pool_cannot_answer(world, unanswerable, forgetting, monkeypatch):
    """To members that know the rows from others, a model without them looks wrong; exact references decide."""
    from neuralyzer.trace.estimator import TraceEstimator

    read = TraceEstimator.read

    def rejecting(self, model, counts=None):
        estimates = read(self, model, counts)
        object.__setattr__(estimates.joint, "rejects", True)
        return estimates

    monkeypatch.setattr("neuralyzer.trace.estimator.TraceEstimator.read", rejecting)
    case = go(world, REQUEST, workspace=loose(world), options=BY_EXACT)
    assert [attempt["method"] for attempt in case.result["unlearning"]["attempts"]] == ["datamodel-matching"]
    assert case.verdict is Verdict.FORGOTTEN


def test_a_pool_that_could_not_read_the_rows_does_not_make_them_untraceable(world, tmp_path):
    """It declared nothing, yet exact references see the original's trace: `untraceable` would close the case."""
    oracle, references = world.oracle, world.references()
    judges = exact.train_exact(oracle, REQUEST.positions(oracle.data), tmp_path / "judges")
    retrained = nz.TrainedModel.fit(small_recipe(seed=77), oracle.data.select(oracle.data.subjects != "c0")).model
    unread = replace(nz.audit(oracle, REQUEST, references).protocol, signals=(), counting=(), original_rejected=False)
    found = nz.verify(retrained, oracle, REQUEST, references, protocol=unread, exact_references=judges)
    assert found.verdict is Verdict.INCONCLUSIVE and found.families[0]["original"] > 0.5
    assert nz.verify(retrained, oracle, REQUEST, references, protocol=unread).verdict is Verdict.UNTRACEABLE


def test_they_see_finer_than_the_pool(world, tmp_path):
    """No share of the data that members lack blurs them."""
    oracle = world.oracle
    references = world.references(oracle)
    judges = exact.train_exact(oracle, REQUEST.positions(oracle.data), tmp_path / "judges")
    retrained = nz.TrainedModel.fit(small_recipe(seed=77), oracle.data.select(oracle.data.subjects != "c0")).model
    pool, fine = (nz.verify(retrained, oracle, REQUEST, references, exact_references=given) for given in ((), judges))
    for coarse, own in zip(pool.families, fine.families, strict=True):
        assert own["signal"] == coarse["signal"] and own["detectable"] < 0.7 * coarse["detectable"]
    assert fine.p_value > 0.05 and pool.p_value > 0.05


def test_they_are_made_once_the_weights_are_final_on_exactly_the_retained_rows(world, monkeypatch):
    seen = {}
    train = exact.train_exact

    def spy(oracle, positions, folder, count, progress, placement):
        (attempt,) = folder.parent.glob("attempts/*/repaired.json")
        seen.update(positions=positions, final=attempt.exists(), before=folder.exists())
        made = train(oracle, positions, folder, count, progress)
        rest = oracle.data.select(np.setdiff1d(np.arange(500), positions))
        alone = training.train(oracle.recipe, rest, oracle.recipe.seed + exact.FIRST_SEED)
        state = made[0].state_dict()
        seen["apart"] = max(float((state[name] - value).abs().max()) for name, value in alone.state_dict().items())
        return made

    monkeypatch.setattr("neuralyzer.cases.attempt.train_exact", spy)
    oracle = world.oracle
    go(world, REQUEST, oracle=oracle, workspace=loose(world), options=BY_EXACT)
    assert (seen["positions"] == np.flatnonzero(oracle.data.subjects == "c0")).all()
    assert seen["final"] and not seen["before"] and seen["apart"] < 1e-2


@pytest.mark.parametrize("stage", ["verification", "result", "closed"])
def test_a_killed_case_goes_on_with_the_same_references_and_leaves_none(world, forgetting, monkeypatch, stage):
    write, kept = Folder.write, {}
    trained = []
    train = exact.backends.train
    monkeypatch.setattr(exact.backends, "train", lambda *given, **named: trained.append(1) or train(*given, **named))

    def killed(self, name, content):
        if name == stage:
            kept.update({path.name: path.read_bytes() for path in world.root.rglob("exact/*.safetensors")})
            raise KeyboardInterrupt
        write(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            go(world, REQUEST, workspace=loose(world), options=BY_EXACT)
    assert len(kept) == (0 if stage == "closed" else 6), "kept until the verdict is written, no longer"
    oracle = world.oracle
    case = go(world, REQUEST, oracle=oracle, workspace=loose(world), options=BY_EXACT)
    assert trained == [1] and folders(world) == []
    assert case.verification.judges == "exact references" and case.verification.looks == 1


def test_killed_once_the_result_is_written_they_still_go(world, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exact, "destroy", killed)
        with pytest.raises(KeyboardInterrupt):
            go(world, REQUEST, workspace=loose(world), options=BY_EXACT)
    assert len(folders(world)) == 1
    go(world, REQUEST, workspace=loose(world), options=BY_EXACT)
    assert folders(world) == []


@pytest.mark.parametrize("count", [-8, 1, 3, 5])
def test_too_few_are_refused_with_the_wish(count):
    with pytest.raises(UsageError, match=f"^{count} exact references were asked for; it takes 6 or more, 8 do$"):
        CaseOptions(exact_references=count)


def test_without_a_pool_they_are_refused_before_anything_is_done(world, tmp_path):
    with pytest.raises(UsageError, match="make references first"):
        go(world, REQUEST, references=None, options=BY_EXACT)
    assert not (world.root / "cases").exists()
    with pytest.raises(UsageError, match="make references first"):
        nz.verify(world.oracle.model, world.oracle, REQUEST, None, exact_references=[world.oracle.model] * 8)
