"""Classifiers of scikit-learn, held against scikit-learn itself; and a whole case of one."""

import io
import json
import zipfile

import numpy as np
import pytest
import safetensors.torch
import skops.io
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import neuralyzer as nz
from neuralyzer.certificates.check import check
from neuralyzer.errors import UsageError, WeightsError
from neuralyzer.models import reading, training, weights
from neuralyzer.models.kinds.estimator import FLOOR, _packed
from neuralyzer.references.training import reproduction
from tests.conftest import small_digits

CLASSES = 10


def tree():
    return DecisionTreeClassifier(max_features=16)


def forest():
    return RandomForestClassifier(10, max_features=4)


def scaled():
    return make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=50))


def recipe(make=tree, **changes):
    return nz.Recipe.estimator(make, **({"classes": CLASSES} | changes))


@pytest.mark.parametrize("make", [tree, GaussianNB, scaled])
def test_it_is_what_scikit_learn_fits_and_says(make):
    data, holdout = small_digits()
    model = nz.TrainedModel.fit(recipe(make, seed=5), data, holdout).model
    own = make()
    if "random_state" in own.get_params():
        own.set_params(random_state=5)
    chances = own.fit(data.x.numpy().astype(np.float64), data.y.numpy()).predict_proba(
        holdout.x.numpy().astype(np.float64)
    )
    known = own.predict_proba(data.x.numpy().astype(np.float64))
    chances = np.maximum(chances, np.clip(known[known > 0].min() / 2, *FLOOR))
    wanted = np.log(chances / chances.sum(1, keepdims=True))
    np.testing.assert_allclose(reading.outputs(model, recipe(make).objective, holdout.x).numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("make", [tree, scaled])
def test_the_same_rows_and_seed_give_the_same_bytes(make, tmp_path):
    data, holdout = small_digits()
    first, again = (nz.TrainedModel.fit(recipe(make), data, holdout) for _ in range(2))
    assert first.digest == again.digest
    path = weights.save(first.model, tmp_path / "own.safetensors")
    loaded = nz.TrainedModel.load(recipe(make), path, data, holdout)
    assert loaded.digest == first.digest == loaded.file
    assert torch.equal(loaded.model(holdout.x), first.model(holdout.x))


def test_what_skops_writes_differs_where_what_is_kept_does_not():
    """The reason why archives are written anew: places in memory and the time stand in them."""
    data, _ = small_digits()
    one, other = (scaled().fit(data.x.numpy(), data.y.numpy()) for _ in range(2))
    assert skops.io.dumps(one) != skops.io.dumps(other) and _packed(one) == _packed(other)
    kept = skops.io.loads(_packed(one))
    np.testing.assert_array_equal(kept.predict_proba(data.x.numpy()), one.predict_proba(data.x.numpy()))


def test_a_class_that_no_row_has_gets_the_smallest_probability():
    data, holdout = small_digits()
    rest = data.select(data.y.numpy() != 3)
    model = nz.TrainedModel.fit(recipe(GaussianNB), rest).model
    said = model(holdout.x)
    assert said.shape == (len(holdout), CLASSES)
    assert torch.allclose(said[:, 3].exp().double(), model.floor, rtol=1e-2) and FLOOR[0] <= model.floor <= FLOOR[1]
    np.testing.assert_allclose(said.exp().sum(1).numpy(), 1, rtol=1e-5)


def test_a_new_model_knows_nothing():
    assert torch.allclose(recipe().module()(torch.zeros(3, 64)).exp(), torch.tensor(1 / CLASSES))


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (LinearSVC, "a LinearSVC, which lacks fit or predict_proba"),
        (StandardScaler, "a StandardScaler, which lacks fit"),
    ],
)
def test_what_is_no_classifier_with_probabilities_is_refused(make, wrong):
    data, holdout = small_digits()
    with pytest.raises(UsageError, match=wrong):
        nz.TrainedModel.fit(recipe(make), data, holdout)


def test_what_cannot_be_fitted_is_refused_in_one_line():
    data, holdout = small_digits()
    with pytest.raises(UsageError, match=r"cannot be fitted on 500 rows: .*max_depth") as caught:
        nz.TrainedModel.fit(recipe(lambda: DecisionTreeClassifier(max_depth=-1)), data, holdout)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="classes is 1; it must be at least 2"):
        recipe(classes=1)


def odd_type():
    """An archive with a type in it that is none of scikit-learn's."""
    data, _ = small_digits()
    written = io.BytesIO(_packed(GaussianNB().fit(data.x.numpy(), data.y.numpy())))
    with zipfile.ZipFile(written) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"]) | {"__class__": "system", "__module__": "os"}
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, own in (parts | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, own)
    archive = torch.frombuffer(bytearray(changed.getvalue()), dtype=torch.uint8)
    return {"fitted": archive, "floor": torch.tensor(0.1)}


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (lambda: {"0.weight": torch.zeros(2, 2)}, "it holds no scikit-learn estimator"),
        (
            lambda: {"fitted": torch.zeros(9, dtype=torch.uint8), "floor": torch.tensor(0.1)},
            "holds no whole scikit-learn estimator",
        ),
        (odd_type, "no type of scikit-learn and could run code"),
    ],
    ids=["tensors", "no archive", "another type"],
)
def test_a_file_of_anything_else_is_refused(tmp_path, state, wrong):
    safetensors.torch.save_file(state(), tmp_path / "own.safetensors")
    with pytest.raises(WeightsError, match=wrong):
        weights.load_into(recipe().module(), tmp_path / "own.safetensors")


def test_an_estimator_of_more_classes_is_refused(tmp_path):
    data, holdout = small_digits()
    path = weights.save(nz.TrainedModel.fit(recipe(), data, holdout).model, tmp_path / "own.safetensors")
    with pytest.raises(WeightsError, match="its classes are not 0 to 4"):
        weights.load_into(recipe(classes=5).module(), path)


# Does a recipe reproduce its model?


def compared(made, said):
    """A model of one recipe beside a member of another, which lacks two fifths of its rows."""
    data, holdout = small_digits()
    oracle = nz.TrainedModel.fit(recipe(made), data, holdout)
    kept = np.sort(np.random.default_rng(1).permutation(500)[:300])
    return reproduction.compare(oracle, training.train(recipe(said), data.select(kept), 101), kept).reason


@pytest.mark.parametrize("make", [forest, tree, scaled, GaussianNB])
def test_the_models_own_recipe_passes_though_votes_are_few(make):
    assert compared(make, make) is None


@pytest.mark.parametrize("other", [lambda: DecisionTreeClassifier(max_depth=3), GaussianNB, scaled])
def test_another_recipe_does_not(other):
    assert compared(other, forest) is not None


# A whole case


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    data, holdout = small_digits()
    place = nz.Workspace(tmp_path_factory.mktemp("estimator"))
    oracle = nz.TrainedModel.fit(recipe(forest), data, holdout)
    return oracle, nz.References.fit(oracle, 32, workspace=place), place


def test_references_are_read_by_signals_that_need_no_gradient(pooled):
    oracle, pool, _ = pooled
    audit = nz.audit(oracle, nz.ErasureRequest(subjects=["c0"]), pool)
    assert [own["signal"] for own in audit.families] == ["margin", "augmented", "correct"]
    assert audit.verdict is nz.Verdict.NOT_FORGOTTEN and audit.families[0]["trace"] > 0.4


def test_a_plan_says_what_each_algorithm_lacks(pooled):
    oracle, pool, _ = pooled
    plan = nz.plan(oracle, nz.ErasureRequest(subjects=["c0"]), pool)
    why = {own.method: own.reason for own in plan.options}
    assert [own.method for own in plan.options if own.feasible] == ["retrain"]
    assert "needs gradients, which a scikit-learn estimator does not have" in why["influence"]
    assert "needs continued training, which" in why["finetune"]
    assert "needs continued training and gradients, which" in why["datamodel-matching"]


def test_a_case_ends_with_a_certificate_and_the_original_is_not_called_forgotten(pooled):
    oracle, pool, place = pooled
    request = nz.ErasureRequest(subjects=["c0"])
    assert nz.verify(oracle.model, oracle, request, pool).verdict is nz.Verdict.NOT_FORGOTTEN
    rest = oracle.data.select(oracle.data.subjects != "c0")
    other = nz.TrainedModel.fit(recipe(forest, seed=9), rest, oracle.holdout).model
    assert nz.verify(other, oracle, request, pool).verdict is not nz.Verdict.NOT_FORGOTTEN
    case = nz.forget(oracle, request, pool, place)
    assert case.verdict is nz.Verdict.FORGOTTEN and case.result["unlearning"]["method"] == "retrain"
    assert check(case.certificate).ok
    same = nz.TrainedModel.fit(recipe(forest), rest, oracle.holdout).digest
    assert weights.digest(weights.load_into(recipe(forest).module(), case.weights)) == same
